"""Finds the pixel grid of a resampled halftone from the lines that its pilot leaves in the spectrum.

The pilot (model/pilot.py) is a sum of waves of known frequencies in cycles per pixel of the halftone. A halftone that
was scaled, turned and cut out shows the same waves at frequencies transformed by the inverse transpose of the map from
its pixels to the image's. Lines in the spectrum are measured to a small fraction of a cycle over the whole image, so
the map holds from corner to corner without a slip of phase.
"""

from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft, optimize

_PILOT = {(2, 3), (4, 2), (2, 4)}
LINES = np.array([[1 / 4, 3 / 8], [-1 / 4, 3 / 8], [1 / 2, 1 / 4], [-1 / 2, 1 / 4], [1 / 4, 1 / 2], [-1 / 4, 1 / 2]])
"""Frequencies (x, y) of the pilot's waves, which have equal amplitudes; the first two are the shortest."""
BETWEEN = np.array([[i, j] for i in (-4, -2, 2, 4) for j in (1, 2, 3) if (abs(i), j) not in _PILOT]) / 8
"""Sums and differences of LINES where a halftone has none: elsewhere than on the axes and at (1/2, 1/2)."""
MIN_SCALE, MAX_SCALE = 0.6, 6.6
"""Image pixels per pixel of the halftone, along each axis."""
MAX_SHEAR = 0.15
"""Cosine of the angle between the halftone's axes in the image; 0 for scaling followed by a turn."""
MIN_SCORE = 5.0
"""Detection threshold of the coherent sum over all lines, in standard deviations of the spectrum around them."""
WINDOW = 1024
"""Side of the part of the image in which the grid is searched for, in pixels."""
_PEAKS = 48
_RANGES = (0.1, 0.2, 0.4, 0.8)
_MIN_PEAK = 5.0
_CANDIDATES = 12
_BLOCK = 16


class Grid(NamedTuple):
    """Where the pixels of a halftone lie in an image.

    matrix  (2, 2): the pixel (column, row) of the halftone has its centre at matrix @ (column, row) + origin
    origin  (2,): (x, y) in pixels of the image, of some pixel of the halftone
    score   strength of the pilot, in standard deviations of chance
    """

    matrix: np.ndarray
    origin: np.ndarray
    score: float

    @property
    def scales(self) -> tuple[float, float]:
        """Image pixels per pixel of the halftone along its rows (x) and its columns (y)."""
        return float(np.linalg.norm(self.matrix[:, 0])), float(np.linalg.norm(self.matrix[:, 1]))

    @property
    def angle(self) -> float:
        """Clockwise turn of the halftone in the image, in degrees, -45 to 45."""
        return float(np.degrees(np.arctan2(self.matrix[1, 0] - self.matrix[0, 1], np.trace(self.matrix))))


def find_grids(gray: np.ndarray) -> list[Grid]:
    """Possible grids of a halftone with a pilot within `gray`, (H, W) float32, the likeliest first.

    Each has a score above MIN_SCORE and a third of the highest. They are accurate in the part of the image that
    holds most details, see `refined_grid`. Quarter turns and mirror images remain: the angle is the smallest of the
    possible ones.
    """
    window = busiest_window(gray, WINDOW)
    part = gray[window]
    if min(part.shape) < 2 * _BLOCK or not part.std() > 0:
        return []
    spectrum = _spectrum(part)
    top_left = np.array([window[1].start, window[0].start])
    grids = []
    for frequencies in _candidates(spectrum):
        grid = _refined(part, frequencies, spectrum)
        if grid.score > MIN_SCORE:
            grids.append(grid._replace(matrix=_upright(grid.matrix), origin=grid.origin + top_left))
    strongest = max((grid.score for grid in grids), default=0)
    grids = [grid for grid in grids if grid.score > strongest / 3]
    # Interpolation leaves copies of the pilot's lines at higher frequencies, which would give smaller scales.
    return sorted(grids, key=lambda grid: -grid.score * abs(np.linalg.det(grid.matrix)) ** 0.25)


def refined_grid(gray: np.ndarray, grid: Grid) -> Grid:
    """The grid that agrees best with the pilot in the whole of `gray`, (H, W) float32, from one accurate in a part."""
    if max(gray.shape) <= WINDOW:
        return grid
    found = _refined(gray, np.linalg.inv(grid.matrix).T)
    return found._replace(matrix=_upright(found.matrix), score=grid.score)


def busiest_window(gray: np.ndarray, side: int) -> tuple[slice, slice]:
    """The window of at most side × side pixels of (H, W) float32 with the most contrast between nearby pixels."""
    if max(gray.shape) <= side:
        return slice(0, gray.shape[0]), slice(0, gray.shape[1])
    step = max(side // 16, 1)
    detail = cv2.absdiff(gray, cv2.blur(gray, (9, 9)))
    small = cv2.resize(detail, [-(-length // step) for length in gray.shape[::-1]], interpolation=cv2.INTER_AREA)
    size = tuple(min(side // step, length) for length in small.shape)
    sums = cv2.boxFilter(small, -1, size[::-1], anchor=(0, 0), normalize=False, borderType=cv2.BORDER_CONSTANT)
    sums = sums[: small.shape[0] - size[0] + 1, : small.shape[1] - size[1] + 1]
    corner = np.unravel_index(sums.argmax(), sums.shape)
    starts = [min(int(at) * step, max(length - side, 0)) for at, length in zip(corner, gray.shape, strict=True)]
    return slice(starts[0], min(starts[0] + side, gray.shape[0])), slice(
        starts[1], min(starts[1] + side, gray.shape[1])
    )


def _tapered(gray: np.ndarray) -> np.ndarray:
    """`gray` without its mean, tapered to 0 at the borders."""
    rows, columns = (np.hanning(side + 2)[1:-1].astype(np.float32) for side in gray.shape)
    return (gray - gray.mean()) * rows[:, None] * columns


class _Spectrum(NamedTuple):
    """Of (H, W) pixels, frequency 0 in the centre: power relative to that around each frequency, which is `noise`."""

    ratio: np.ndarray
    noise: np.ndarray

    def places(self, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns nearest to frequencies (..., 2), or to their aliases."""
        height, width = self.ratio.shape
        columns = np.rint((frequencies[..., 0] + 0.5) % 1 * width).astype(int) % width
        rows = np.rint((frequencies[..., 1] + 0.5) % 1 * height).astype(int) % height
        return rows, columns


def _spectrum(gray: np.ndarray) -> _Spectrum:
    power = np.abs(fft.fftshift(fft.fft2(_tapered(gray), [fft.next_fast_len(side) for side in gray.shape]))) ** 2
    noise = _surrounding(power)
    return _Spectrum(power / noise, noise)


def _surrounding(power: np.ndarray) -> np.ndarray:
    """Mean power around each frequency, without peaks."""
    size = (31, 31)
    around = cv2.blur(power, size)
    for _ in range(2):
        around = cv2.blur(np.minimum(power, 3 * around), size)
    return around + 1e-12 * power.max() + 1e-20


def _candidates(spectrum: _Spectrum) -> list[np.ndarray]:
    """Likely (2, 2) matrices from frequencies of the halftone to frequencies of the image, the best first."""
    peaks = _peaks(spectrum.ratio)
    if len(peaks) < 4:
        return []
    # Peaks appear at both signs, and beyond the Nyquist frequency at their aliases.
    shifts = np.array(list(product((-1, 0, 1), repeat=2)))
    longest = np.linalg.norm(LINES[0]) / MIN_SCALE
    peaks = (peaks + shifts[:, None]).reshape(-1, 2)
    peaks = peaks[np.linalg.norm(peaks, axis=1) < longest]
    first, second = peaks[:, None], peaks[None]
    along_x, along_y = (first - second) * 2, (first + second) * (4 / 3)
    lengths = np.linalg.norm(along_x, axis=-1), np.linalg.norm(along_y, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = (along_x * along_y).sum(-1) / (lengths[0] * lengths[1])
        turn = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
        fits = (turn > 0) & (np.abs(cosine) < MAX_SHEAR) & (along_y[..., 1] >= 0)
    for length in lengths:
        fits &= (length > 1 / MAX_SCALE) & (length < 1 / MIN_SCALE)
    matrices = np.stack([along_x[fits], along_y[fits]], axis=-1)
    heights = np.sqrt(cv2.dilate(spectrum.ratio, np.ones((3, 3))))
    on, between = (heights[spectrum.places(lines @ matrices.mT)] for lines in (LINES, BETWEEN))
    on = _limited(on, 2)
    between = np.sort(between, axis=1)[:, :-2]  # chroma may be folded onto some
    scores = np.exp(np.log(on).mean(axis=1)) / between.mean(axis=1)
    # Interpolation also leaves weaker copies of the lines at higher frequencies.
    scores *= np.abs(np.linalg.det(matrices)) ** -0.05
    best: list[np.ndarray] = []
    for index in np.argsort(-scores):
        if all(np.abs(matrices[index] - other).max() * min(spectrum.ratio.shape) > 2 for other in best):
            best.append(matrices[index])
        if len(best) == _CANDIDATES:
            break
    return best


def _limited(strengths: np.ndarray, rank: int) -> np.ndarray:
    """Strengths (..., LINES) limited to 1.5 times one of the smallest: lines of the pilot are about equally strong.

    Chroma leaves lines that are many times stronger than the pilot's.
    """
    return np.minimum(strengths, 1.5 * np.sort(strengths, axis=-1)[..., rank : rank + 1])


def _peaks(ratio: np.ndarray) -> np.ndarray:
    """The strongest local maxima of both signs, (K, 2) frequencies (x, y) in cycles per pixel."""
    is_peak = (ratio >= cv2.dilate(ratio, np.ones((5, 5)))) & (ratio > _MIN_PEAK)
    height, width = ratio.shape
    y, x = np.nonzero(is_peak)
    offset = np.hypot((x - width // 2) / width, (y - height // 2) / height)
    keep = offset > 0.8 * np.linalg.norm(LINES[0]) / MAX_SCALE
    y, x = y[keep], x[keep]
    order = np.argsort(-ratio[y, x])
    # The strongest of each range: interpolation leaves many copies of the strongest lines at higher frequencies.
    chosen = [order[offset[keep][order] < limit][:_PEAKS] for limit in _RANGES]
    y, x = (side[np.unique(np.concatenate(chosen))] for side in (y, x))
    fractions = []
    for step_y, step_x in ((0, 1), (1, 0)):
        before, here, after = (
            np.sqrt(ratio[(y + sign * step_y) % height, (x + sign * step_x) % width]) for sign in (-1, 0, 1)
        )
        fractions.append(np.clip(0.5 * (before - after) / np.minimum(before - 2 * here + after, -1e-6), -0.5, 0.5))
    return np.stack([(x + fractions[0] - width // 2) / width, (y + fractions[1] - height // 2) / height], axis=1)


def _refined(gray: np.ndarray, frequencies: np.ndarray, spectrum: _Spectrum | None = None) -> Grid:
    """The grid that maximises the power of the pilot's lines over the whole of `gray`, near `frequencies`.

    With the spectrum of `gray`, the score is in its units, and a hopeless start is left as it is.
    """
    tapered = _tapered(gray)
    lines = LINES @ frequencies.T
    blocks, centres = _demodulated(tapered, lines)
    if spectrum is None:
        noise = np.array([np.linalg.norm(block) for block in blocks]) + 1e-10
    else:
        noise = np.sqrt(spectrum.noise[spectrum.places(lines)])
    span = max(gray.shape)

    def amplitudes(change: np.ndarray) -> np.ndarray:
        """Of the lines, after a change of the matrix by change / span, in standard deviations of their real parts."""
        moved = LINES @ change.reshape(2, 2).T / span
        sums = [
            np.exp(-2j * np.pi * centres[1] * y) @ block @ np.exp(-2j * np.pi * centres[0] * x)
            for block, (x, y) in zip(blocks, moved, strict=True)
        ]
        return np.array(sums) / noise * np.sqrt(2)

    start = np.zeros(4)
    phase, score = _offset(amplitudes(start))
    if spectrum is not None and score < MIN_SCORE - 1:
        matrix = np.linalg.inv(frequencies).T
        return Grid(matrix, matrix @ phase, score)
    simplex = np.vstack([start, 0.5 * np.eye(4)])
    result = optimize.minimize(
        lambda change: -np.log1p(np.abs(amplitudes(change)) ** 2).sum(),
        start,
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 3e-3, "fatol": 1e-2, "maxfev": 200},
    )
    frequencies = frequencies + result.x.reshape(2, 2) / span
    matrix = np.linalg.inv(frequencies).T
    phase, score = _offset(amplitudes(result.x))
    return Grid(matrix, matrix @ phase, score)


def _demodulated(gray: np.ndarray, lines: np.ndarray) -> tuple[list[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Complex amplitudes of each line in blocks of the image, and the x and y of the blocks' centres."""
    height, width = (-(-side // _BLOCK) * _BLOCK for side in gray.shape)
    padded = np.zeros((height, width), np.float32)
    padded[: gray.shape[0], : gray.shape[1]] = gray
    columns, rows = np.arange(width), np.arange(height)
    blocks = []
    for x, y in lines:
        wave = np.exp(-2j * np.pi * x * columns).reshape(-1, _BLOCK).astype(np.complex64)
        parts = [np.einsum("hbk,bk->hb", padded.reshape(height, -1, _BLOCK), part) for part in (wave.real, wave.imag)]
        along = (parts[0] + 1j * parts[1]) * np.exp(-2j * np.pi * y * rows)[:, None]
        blocks.append(along.reshape(-1, _BLOCK, width // _BLOCK).sum(axis=1))
    middle = (_BLOCK - 1) / 2
    return blocks, (np.arange(0, width, _BLOCK) + middle, np.arange(0, height, _BLOCK) + middle)


def _offset(amplitudes: np.ndarray) -> tuple[np.ndarray, float]:
    """The phase (2,) in halftone pixels at which the lines agree best, and the score of their sum.

    The sum is negative for an inverted halftone.
    """
    strengths = np.abs(amplitudes)
    amplitudes = amplitudes * (_limited(strengths, 1) / strengths)
    steps = np.arange(0, 8, 1 / 4)
    places = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)

    def total(places: np.ndarray) -> np.ndarray:
        return (amplitudes * np.exp(2j * np.pi * places @ LINES.T)).real.sum(axis=-1) / np.sqrt(len(LINES))

    start = places[np.abs(total(places)).argmax()]
    result = optimize.minimize(lambda place: -np.abs(total(place)), start, method="Nelder-Mead")
    return result.x, float(-result.fun)


def _upright(matrix: np.ndarray) -> np.ndarray:
    """The same grid with its axes exchanged by quarter turns until the angle is within 45 degrees."""
    turns = (np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), k) for k in range(4))
    return max((matrix @ turn for turn in turns), key=lambda turned: np.trace(turned / np.linalg.norm(turned, axis=0)))
