"""The grid of a sheet's cells in a scan: from the markers, then the ring of known cells, then the cells' own edges."""

from dataclasses import dataclass

import cv2
import numpy as np
from skimage.restoration import unwrap_phase

from reshalf.sheet.layout import HEADER_STEP, RING, Layout
from reshalf.sheet.markers import Placed

SAMPLES = 4
"""Samples per cell along each axis of the rectified image."""
BORDER = 2
"""Cells around the ring that are rectified as well."""
OUTSIDE = RING + BORDER
"""Cells around the picture that are rectified."""
NODE = 4
"""Cells between the nodes of the displacement field."""
WINDOW, STEP, REACH = 24, 12, 4
"""Length and distance of the windows along the ring, and the displacement searched in each, in cells."""
MIN_CORRELATION = 0.45
"""Of a window with its known cells; random cells reach 0.4."""
WIDTHS = (8.0, 5.0, 4.0)
"""Standard deviations in cells of the windows in which the phase of the edges is averaged, in turn."""
FAINT = 0.2
"""Share of the median strength of the edges' period below which its phase is not unwrapped."""
MAX_LATER = 0.25
"""Largest displacement in cells that is believed after the first time."""
SMOOTHED = ((1.0, 1.0), (4.0, 1e-2), (16.0, 1e-4))
"""Standard deviations, in nodes, and shares of the last smoothing's windows; wide ones fill areas without edges."""
DEGREE = 3
"""Degree of the polynomial through the displacements of the ring, which a boundary determines up to degree 3."""


@dataclass
class Grid:
    """The rectified image of ring and picture.

    scan    (H, W) float32
    placed  the sheet, as found by its markers
    nodes   displacement (x, y) of the cells in cells, (rows, columns, 2) float32, at nodes NODE cells apart
    """

    scan: np.ndarray
    placed: Placed
    nodes: np.ndarray

    @property
    def layout(self) -> Layout:
        """Layout of the sheet."""
        return self.placed.layout

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells of the rectified image."""
        rows, columns = self.layout.inner
        return rows + 2 * OUTSIDE, columns + 2 * OUTSIDE

    def rectified(self) -> np.ndarray:
        """The image of ring, picture and BORDER cells around them, SAMPLES per cell, float32; 255 outside the scan."""
        return self.area(-OUTSIDE, -OUTSIDE, *self.shape)

    def area(self, top: int, left: int, height: int, width: int) -> np.ndarray:
        """The image of an area in cells: (height · SAMPLES, width · SAMPLES) float32; 255 outside the scan."""
        y = top + (np.arange(height * SAMPLES, dtype=np.float32) + 0.5) / SAMPLES
        x = left + (np.arange(width * SAMPLES, dtype=np.float32) + 0.5) / SAMPLES
        cells = np.stack(np.meshgrid(x, y), axis=-1)
        at_nodes = (cells + OUTSIDE) / NODE
        cells += cv2.remap(self.nodes, at_nodes, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        pixels = cv2.perspectiveTransform(cells.reshape(1, -1, 2), self.placed.to_scan).reshape(cells.shape) - 0.5
        return cv2.remap(self.scan, pixels, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=255)

    def moved(self, displacement: np.ndarray) -> "Grid":
        """The grid with a displacement (rows, columns, 2) in cells added at its nodes."""
        return Grid(self.scan, self.placed, (self.nodes + displacement).astype(np.float32))


def find_grid(scan: np.ndarray, placed: Placed) -> Grid:
    """The grid of a sheet in a scan, (H, W) uint8 or float32."""
    scan, placed = _reduced(scan, placed)
    rows, columns = (-(-(side + 2 * OUTSIDE) // NODE) + 1 for side in placed.layout.inner)
    grid = Grid(scan, placed, np.zeros((rows, columns, 2), np.float32))
    for _ in range(2):
        grid = grid.moved(_ring_displacement(grid))
    for number, width in enumerate(WIDTHS):
        grid = grid.moved(_edge_displacement(grid, width, number == 0))
    return grid


def cell_pitch(placed: Placed) -> float:
    """Mean distance of neighbouring cells of a sheet in pixels of the scan."""
    rows, columns = placed.layout.inner
    corners = np.array([(0, 0), (columns, 0), (columns, rows), (0, rows)], np.float32)
    area = cv2.contourArea(cv2.perspectiveTransform(corners[None], placed.to_scan)[0])
    return float(np.sqrt(area / (rows * columns)))


def _reduced(scan: np.ndarray, placed: Placed) -> tuple[np.ndarray, Placed]:
    """The scan reduced by a whole factor, by averaging, to at least SAMPLES pixels per cell."""
    factor = max(int(cell_pitch(placed) / SAMPLES), 1)
    height, width = (side // factor * factor for side in scan.shape)
    reduced = cv2.resize(
        scan[:height, :width], (width // factor, height // factor), interpolation=cv2.INTER_AREA
    ).astype(np.float32)
    return reduced, placed._replace(to_scan=np.diag([1 / factor, 1 / factor, 1]) @ placed.to_scan)


def _node_places(nodes: np.ndarray, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates (x, y) of the nodes, scaled to about -1 … 1."""
    y, x = (np.arange(count) * NODE - OUTSIDE for count in nodes.shape[:2])
    rows, columns = layout.inner
    return np.meshgrid(2 * x / columns - 1, 2 * y / rows - 1)


def _ring_displacement(grid: Grid) -> np.ndarray:
    """Displacement at the nodes: a polynomial through those of windows along the ring."""
    layout, outside = grid.layout, OUTSIDE + REACH
    image = grid.area(-outside, -outside, *(side + 2 * REACH for side in grid.shape))
    rows, columns = layout.inner
    known = np.zeros(grid.shape, np.float32)
    y, x = layout.ring
    levels = np.where(layout.ring_cells(), 1.0, -1.0)
    levels[::HEADER_STEP] = 0  # unknown before the header is read
    known[y + OUTSIDE, x + OUTSIDE] = levels
    places, moves, weights = [], [], []
    for top, left, height, width in _ring_windows(*grid.shape):
        template = known[top : top + height, left : left + width]
        found = _match(image, template, top, left)
        if found is None:
            continue
        dx, dy, correlation = found
        centre = left + width / 2 - OUTSIDE, top + height / 2 - OUTSIDE
        places.append((2 * centre[0] / columns - 1, 2 * centre[1] / rows - 1))
        moves.append((dx, dy))
        weights.append(correlation - MIN_CORRELATION)
    return _polynomial(np.array(places), np.array(moves), np.array(weights), *_node_places(grid.nodes, layout))


def _ring_windows(rows: int, columns: int):
    """Areas (top, left, height, width) of windows along the four sides of the ring, in cells of the rectified image."""
    for left in range(BORDER, columns - BORDER - WINDOW + 1, STEP):
        yield BORDER, left, RING, WINDOW
        yield rows - BORDER - RING, left, RING, WINDOW
    for top in range(BORDER, rows - BORDER - WINDOW + 1, STEP):
        yield top, BORDER, WINDOW, RING
        yield top, columns - BORDER - RING, WINDOW, RING


def _match(image: np.ndarray, template: np.ndarray, top: int, left: int) -> tuple[float, float, float] | None:
    """Displacement (x, y) in cells and correlation of a window; None where it does not match.

    image  rectified, with REACH cells more on each side
    """
    height, width = template.shape
    reach = REACH * SAMPLES
    part = image[
        top * SAMPLES : (top + height) * SAMPLES + 2 * reach, left * SAMPLES : (left + width) * SAMPLES + 2 * reach
    ]
    large = template.repeat(SAMPLES, 0).repeat(SAMPLES, 1)
    score = cv2.matchTemplate(part, large, cv2.TM_CCOEFF_NORMED)
    _, correlation, _, (x, y) = cv2.minMaxLoc(score)
    if correlation < MIN_CORRELATION or not (0 < x < score.shape[1] - 1 and 0 < y < score.shape[0] - 1):
        return None
    dx, dy = _vertex(score[y, x - 1 : x + 2]), _vertex(score[y - 1 : y + 2, x])
    return (x + dx - reach) / SAMPLES, (y + dy - reach) / SAMPLES, float(correlation)


def _vertex(values: np.ndarray) -> float:
    """Position of the maximum of the parabola through three values, relative to the middle one."""
    curvature = values[0] - 2 * values[1] + values[2]
    return float((values[0] - values[2]) / (2 * curvature)) if curvature < 0 else 0.0


def _polynomial(places, moves, weights, node_x, node_y) -> np.ndarray:
    """A polynomial of two variables through `moves` at `places`, evaluated at the nodes; outliers lose their weight."""
    if len(places) < 4:
        return np.zeros((*node_x.shape, 2))

    def terms(x, y):
        return np.stack([x**i * y**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)], axis=-1)

    basis, at_nodes = terms(*places.T), terms(node_x, node_y)
    ridge = 1e-3 * weights.sum() * np.eye(basis.shape[1])
    robust = np.ones(len(moves))
    for _ in range(5):
        weighted = basis * (weights * robust)[:, None]
        coefficients = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ moves)
        residual = np.linalg.norm(moves - basis @ coefficients, axis=1)
        robust = 1 / (1 + (residual / max(2 * np.median(residual), 0.05)) ** 2)
    return at_nodes @ coefficients


def _edge_displacement(grid: Grid, width: float, first: bool) -> np.ndarray:
    """Displacement at the nodes from the phase of the squared gradient, which repeats from cell to cell.

    Square timing recovery (Oerder and Meyr, IEEE Trans. Communications 36(5), 1988), in two dimensions: edges lie
    between cells, so the squared gradient has a component of one period per cell whose phase is the displacement.
    """
    image, (rows, columns) = grid.rectified(), grid.shape
    displacements = []
    for axis in (1, 0):
        # The difference of samples i and i + 1 lies at their border, (i + 1) / SAMPLES.
        power = np.diff(image, axis=axis, append=image.take([-1], axis)) ** 2
        by_cell = power.reshape(rows, SAMPLES, columns, SAMPLES).sum(axis=1 if axis else 3)
        wave = np.exp(-2j * np.pi * (np.arange(SAMPLES) + 1) / SAMPLES).astype(np.complex64)
        component = np.tensordot(by_cell, wave, (2 if axis else 1, 0))
        real, imaginary = (_averaged(np.ascontiguousarray(part), width) for part in (component.real, component.imag))
        displacements.append(_phase_displacement(real + 1j * imaginary, first))
    displacement = np.stack(displacements, axis=-1)
    missing = [(0, size - have) for size, have in zip(grid.nodes.shape, displacement.shape, strict=True)]
    return np.pad(displacement, missing, mode="edge")


def _averaged(values: np.ndarray, width: float) -> np.ndarray:
    """Gaussian averages at the nodes."""
    return cv2.GaussianBlur(values, (0, 0), width)[::NODE, ::NODE]


def _phase_displacement(component: np.ndarray, first: bool) -> np.ndarray:
    """The displacement in cells that a complex component (rows, columns) at the nodes means, float32.

    At first it may exceed half a cell: the phase is unwrapped, and near 0 at the ring, where it is known. Later it is
    small. Where there are few edges, in areas that are nearly black or white, the surroundings decide.
    """
    strength = np.abs(component).astype(np.float32)
    weight = np.minimum(strength / max(float(np.median(strength)), 1e-6), 1)
    phase = np.angle(component)
    if first:
        weight[weight < FAINT] = 0
        phase = np.ma.getdata(unwrap_phase(np.ma.array(phase, mask=weight == 0)))
    displacement = np.where(weight > 0, phase, 0).astype(np.float32) / np.float32(-2 * np.pi)
    if first:
        edges = np.zeros(weight.shape, bool)
        edges[[0, -1]] = edges[:, [0, -1]] = True
        at_ring = displacement[edges & (weight > 0)]
        displacement -= np.round(np.median(at_ring)) if len(at_ring) else 0
    else:
        weight[np.abs(displacement) > MAX_LATER] = 0
    total, smooth = np.full(weight.shape, 1e-6, np.float32), np.zeros(weight.shape, np.float32)
    for width, share in SMOOTHED:
        total += share * cv2.GaussianBlur(weight, (0, 0), width)
        smooth += share * cv2.GaussianBlur(weight * displacement, (0, 0), width)
    return smooth / total
