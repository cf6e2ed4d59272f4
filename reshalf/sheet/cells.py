"""Black or white: decides each cell of a rectified sheet, with the ring of known cells as the training sequence.

A black neighbour darkens a white cell: toner spreads, light scatters in the paper, and the scanner blurs. A linear
equalizer over a cell and its neighbours undoes most of it. Its coefficients are those of least squares on the cells of
the ring, then on all cells as decided (decision-directed equalization: Lucky, Bell Syst. Tech. J. 45(2), 1966).
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.special import expit

from images.pixels import black_and_white
from reshalf.sheet.grid import BORDER, OUTSIDE, SAMPLES, Grid
from reshalf.sheet.header import HEADER_BITS, Header, unpack_header
from reshalf.sheet.layout import STEPS, Layout
from utils.errors import UserError

PARTS = 2
"""Samples per cell along each axis from which the equalizer computes a cell."""
LOCAL = 12.0
"""Standard deviation in cells of the window of the local levels of black and white."""
FAR = 4
"""A window this many times as wide fills areas without cells of one kind."""
RIDGE = 1e-3
MAX_TRAINING = 40_000
"""Cells from which the equalizer is computed."""
MAX_RING_ERRORS = 0.25
"""Share of wrong cells of the ring from which on nothing is read; half of them would be chance."""
DOUBTFUL = 0.05
"""Probability of an error above which a cell is doubtful."""
GAMMA = 2.2
"""Approximate exponent of sRGB, for the reflectance of the wedge."""


class Cells(NamedTuple):
    """The cells of a sheet's picture.

    header     of the sheet
    white      probability that a cell is white, (H, W) float32
    ring       share of the ring's cells that were decided wrongly
    """

    header: Header
    white: np.ndarray
    ring: float

    @property
    def levels(self) -> np.ndarray:
        """255 times the probability that a cell is white, (H, W) uint8; above 127 where `halftone` is white."""
        return np.rint(self.white * 255).astype(np.uint8)

    @property
    def halftone(self) -> np.ndarray:
        """The decisions, (H, W) uint8 in {0, 255}."""
        return black_and_white(self.levels)

    @property
    def doubtful(self) -> float:
        """Share of the cells with an error probability above DOUBTFUL."""
        return float(np.mean(np.minimum(self.white, 1 - self.white) > DOUBTFUL))

    @property
    def flips(self) -> float:
        """Estimated share of wrong cells: as expected from the noise, or as counted in the ring if it has more."""
        return max(float(np.mean(np.minimum(self.white, 1 - self.white))), self.ring)


def read_cells(grid: Grid) -> Cells:
    """The cells of a sheet. Raises UserError, a reason without the file's name, where they cannot be read."""
    layout = grid.layout
    parts = _parts(grid.rectified())
    rows, columns = (places + OUTSIDE for places in layout.ring)
    first = layout.ring_cells()
    known = np.ones(len(first), bool)
    known[layout.header_cells] = False  # inverted where the header has a 1
    training = rows[known], columns[known], first[known]
    values = _equalized(_normalized(parts, *_ring_levels(parts, *training)), *training)
    wrong = np.mean((values[rows, columns] > 0)[known] != first[known])
    header = _header(values[rows, columns], layout)
    if wrong > MAX_RING_ERRORS or header is None:
        raise UserError(f"its pixels cannot be made out: {wrong:.0%} of the known ones around the picture are wrong")
    truth = layout.ring_cells(header)
    for _ in range(2):
        white = values > 0
        white[rows, columns] = truth
        training = _training_cells(white.shape)
        values = _equalized(_normalized(parts, *_local_levels(parts, white)), *training, white[training])
    ring = values[rows, columns]
    probability = expit(_log_odds(values, ring[truth], ring[~truth]))
    picture = probability[OUTSIDE : OUTSIDE + layout.height, OUTSIDE : OUTSIDE + layout.width]
    return Cells(unpack_header(header), picture.astype(np.float32), float(np.mean((ring > 0) != truth)))


def _parts(image: np.ndarray) -> np.ndarray:
    """Means of PARTS × PARTS parts of each cell: (rows · PARTS, columns · PARTS) float32."""
    size = SAMPLES // PARTS
    return image.reshape(image.shape[0] // size, size, image.shape[1] // size, size).mean(axis=(1, 3))


def _cell_means(parts: np.ndarray) -> np.ndarray:
    return parts.reshape(parts.shape[0] // PARTS, PARTS, parts.shape[1] // PARTS, PARTS).mean(axis=(1, 3))


def _ring_levels(parts, rows, columns, white) -> tuple[np.ndarray, np.ndarray]:
    """Levels of black and white, (rows, columns) each: quadratic polynomials through the ring's cells."""
    cells = _cell_means(parts)
    y, x = (np.linspace(-1, 1, count) for count in cells.shape)

    def terms(y, x):
        return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)

    everywhere = terms(*np.meshgrid(y, x, indexing="ij"))
    levels = []
    for chosen in (~white, white):
        basis, seen = terms(y[rows[chosen]], x[columns[chosen]]), cells[rows[chosen], columns[chosen]]
        levels.append((everywhere @ np.linalg.lstsq(basis, seen, rcond=None)[0]).astype(np.float32))
    return levels[0], levels[1]


def _local_levels(parts: np.ndarray, white: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels of black and white around each cell: means of the cells decided so, by a Gaussian window."""
    cells, levels = _cell_means(parts), []
    for chosen in (~white, white):
        weight, mean = chosen.astype(np.float32), np.where(chosen, cells, np.float32(0))
        near = [cv2.GaussianBlur(each, (0, 0), LOCAL) for each in (weight, mean)]
        # A faint share of a wide window, where there are few such cells nearby.
        size = tuple(-(-side // FAR) for side in cells.shape[::-1])
        wide = [
            cv2.resize(
                cv2.GaussianBlur(cv2.resize(each, size, interpolation=cv2.INTER_AREA), (0, 0), LOCAL), cells.shape[::-1]
            )
            for each in near
        ]
        levels.append((near[1] + 0.1 * wide[1]) / (near[0] + 0.1 * wide[0] + 1e-9))
    return levels[0], levels[1]


def _normalized(parts: np.ndarray, black: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Parts with local black at -1 and white at 1; extremes as of a reflection are limited."""
    middle, half = (black + white) / 2, np.maximum((white - black) / 2, 1.0)
    middle, half = (level.repeat(PARTS, 0).repeat(PARTS, 1) for level in (middle, half))
    return np.clip((parts - middle) / half, -2, 2)


def _equalized(parts: np.ndarray, rows: np.ndarray, columns: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Equalizer outputs, about -1 for black and 1 for white, for all cells: trained on the cells given."""
    features = _neighbourhoods(parts)
    chosen = features[rows, columns]
    target = np.where(white, np.float32(1), np.float32(-1))
    gram = chosen.T @ chosen
    gram[np.diag_indices_from(gram)] += RIDGE * len(chosen)
    return features @ np.linalg.solve(gram, chosen.T @ target)


def _neighbourhoods(parts: np.ndarray) -> np.ndarray:
    """The parts of the 3 × 3 cells around each cell, and a 1: (rows, columns, (3 · PARTS)² + 1)."""
    padded = np.pad(parts, PARTS, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3 * PARTS, 3 * PARTS))[::PARTS, ::PARTS]
    features = windows.reshape(*windows.shape[:2], -1).astype(np.float32)
    return np.concatenate([features, np.ones_like(features[..., :1])], axis=-1)


def _training_cells(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of up to MAX_TRAINING cells of ring and picture, evenly spread."""
    rows, columns = (side - 2 * BORDER for side in shape)
    chosen = np.arange(0, rows * columns, max(rows * columns // MAX_TRAINING, 1) | 1)
    return chosen // columns + BORDER, chosen % columns + BORDER


def _log_odds(values: np.ndarray, white: np.ndarray, black: np.ndarray) -> np.ndarray:
    """Log-odds of white for values with the normal distributions of known white and black cells."""
    variance = max(white.var(), 1e-4), max(black.var(), 1e-4)
    return (
        (values - black.mean()) ** 2 / (2 * variance[1])
        - (values - white.mean()) ** 2 / (2 * variance[0])
        + 0.5 * np.log(variance[1] / variance[0])
    )


def _header(ring: np.ndarray, layout: Layout) -> np.ndarray | None:
    """The header's bits by a vote of the ring's cells that carry each; None where the checksum does not match."""
    places = layout.header_cells
    signs = np.where(layout.ring_cells()[places], 1.0, -1.0)
    votes = np.bincount(np.arange(len(places)) % HEADER_BITS, ring[places] * signs, HEADER_BITS)
    bits = votes < 0
    return bits if unpack_header(bits) else None


def dot_gain(grid: Grid) -> float | None:
    """Increase of the black area of the wedge's middle patch, as a share of the patch; None without a wedge."""
    y, x, width = grid.layout.wedge
    if not width:
        return None
    cells = grid.layout.wedge_cells()
    image = grid.area(y, x, *cells.shape)
    light = (np.clip(image, 0, 255) / 255) ** GAMMA
    patches = [part[SAMPLES:-SAMPLES, SAMPLES:-SAMPLES].mean() for part in np.array_split(light, STEPS, axis=1)]
    covered = (patches[0] - np.array(patches)) / max(patches[0] - patches[-1], 1e-6)
    return float(covered[STEPS // 2] - 0.5)
