"""Recovers a halftone that was scaled by any factor, turned by any angle or cut out of a screenshot, from its own grid.

The pilot gives the grid (reshalf/grid_search.py), the pixels are estimated on it (reshalf/grid_pixels.py), and the
result counts only if it explains the image and carries the pilot.
"""

from typing import NamedTuple

import cv2
import numpy as np

from model.pilot import PERIOD, detect_pilot
from reshalf.grid_pixels import UNKNOWN, Estimate, Kernel, Mapping, covering, kernels
from reshalf.grid_search import Grid, busiest_window, find_grids, refined_grid

MAX_PIXELS = 64_000_000
"""Larger images are not searched: the estimate takes 16 bytes per pixel."""
REDUCTIONS = (4, 2, 1)
"""Factors by which the image is reduced for the search: in large enlargements the pilot has low frequencies."""
MIN_REDUCED = 96
"""Smallest side of a reduced image."""
ENOUGH_SCALE = 1.5
"""Image pixels per halftone pixel that suffice for an exact estimate; larger images are reduced towards it."""
EASY_SCALE = 1.25
"""Scale from which on the estimate converges at once."""
MIN_SCALE = 0.72
"""Smallest scale at which the pixels are still estimated; below, too few are right (bench/regrid.py)."""
PATCH = 80
"""Side, in halftone pixels, of the part from which the interpolation is determined."""
MIN_EXPLAINED = 0.9
"""Share of the image's variance that the recovered halftone must explain."""
MIN_ROUGHLY = 0.4
"""The same for a first estimate, of bilinear interpolation."""
CERTAIN = 0.95
"""The same, from which on no other grid is tried."""
MAX_ERROR = 0.02
"""Largest mean squared error, with black 0 and white 1, of a block of 8² pixels that belongs to the halftone."""
MAX_MEAN_ERROR = 0.02
"""The same for the whole halftone."""
MAX_WRONG = 0.05
"""Largest share of pixels with a larger error in an outer line of the halftone."""
MIN_DOTS = 0.01
"""Smallest number of changes between black and white per pixel of an outer line."""
MIN_STRENGTH = 0.5
"""Smallest score of the pilot in the halftone relative to that in the spectrum; on a wrong grid it is far weaker."""
DOUBTFUL = 0.2
"""A pixel is doubtful below this margin: increase of the squared error by its flip, relative to its kernel's power."""
MAX_DOUBTFUL = 0.25
"""Largest share of doubtful pixels."""
MIN_CONTRAST = 8
"""Levels between black and white."""


class Regridded(NamedTuple):
    """A recovered halftone.

    halftone  (H, W) uint8 in {0, 255}
    scales    image pixels per halftone pixel, along x and y
    angle     clockwise turn that was undone, in degrees
    doubtful  share of doubtful pixels
    matrix, origin  the pixel (column, row) has its centre at matrix @ (column, row) + origin in the image
    """

    halftone: np.ndarray
    scales: tuple[float, float]
    angle: float
    doubtful: float
    matrix: np.ndarray
    origin: np.ndarray


class _Fit(NamedTuple):
    """A grid registered to the most detailed part of an image that is reduced where its scale is large.

    image      (H, W) float32, reduced by across × down
    window     the part, and `mapping` that to the halftone's pixels in it
    explained  share of the variance in the part that a first estimate explains
    """

    image: np.ndarray
    grid: Grid
    across: int
    down: int
    window: tuple[slice, slice]
    mapping: Mapping
    explained: float


def regrid(gray: np.ndarray) -> Regridded | None:
    """The halftone with a pilot in an image (H, W) uint8, upright on its own grid; None where there is none.

    Mirror images, quarter turns and inversion remain, as in reshalf.repair.
    """
    levels = _levels(gray) if gray.size <= MAX_PIXELS else None
    if levels is None:
        return None
    low, high = levels
    image = np.clip((gray.astype(np.float32) - low) / (high - low), 0, 1)
    for factor in REDUCTIONS:
        reduced = _reduced(image, factor, factor)
        if factor > 1 and min(reduced.shape) < MIN_REDUCED:
            continue
        grids = [_enlarged(grid, factor, factor) for grid in find_grids(reduced)]
        fits: list[_Fit] = []
        for grid in grids:
            if min(grid.scales) < MIN_SCALE:
                continue
            fits.append(_first_fit(image, grid))
            if fits[-1].explained > CERTAIN:
                break
        strongest = max((fit.grid.score for fit in fits), default=0)
        for fit in sorted(fits, key=lambda fit: fit.explained <= CERTAIN):
            found = _recovered(fit, strongest) if fit.explained > MIN_ROUGHLY else None
            if found is not None:
                return found
    return None


def _levels(gray: np.ndarray) -> tuple[float, float] | None:
    """Black and white of the most detailed part of the image; None for a uniform one."""
    low, high = np.percentile(gray[busiest_window(gray.astype(np.float32), 512)], (1, 99))
    low, high = float(low) if low > 16 else 0.0, float(high) if high < 239 else 255.0
    return (low, high) if high - low >= MIN_CONTRAST else None


def _reduced(image: np.ndarray, across: int, down: int) -> np.ndarray:
    """Means of blocks of across × down pixels; incomplete ones at the right and the bottom are left out."""
    if across == down == 1:
        return image
    height, width = image.shape[0] // down, image.shape[1] // across
    if min(height, width) == 0:
        return image[:0, :0]
    return cv2.resize(image[: height * down, : width * across], (width, height), interpolation=cv2.INTER_AREA)


def _enlarged(grid: Grid, across: float, down: float) -> Grid:
    """The grid in an image that is enlarged by these factors."""
    factors = np.array([across, down])
    return grid._replace(matrix=grid.matrix * factors[:, None], origin=(grid.origin + 0.5) * factors - 0.5)


def _first_fit(image: np.ndarray, grid: Grid) -> _Fit:
    # Extents of a pixel of the halftone along x and y of the image.
    across, down = (max(int(extent / ENOUGH_SCALE), 1) for extent in np.linalg.norm(grid.matrix, axis=1))
    image = _reduced(image, across, down)
    grid = _enlarged(grid, 1 / across, 1 / down)
    window = busiest_window(image, int(PATCH * max(np.sqrt(np.prod(grid.scales)), 1)))
    patch = np.ascontiguousarray(image[window])
    mapping = covering(grid, image.shape).part(window)
    smooth = next(kernel for kernel in kernels(grid.scales) if kernel.name == "linear")
    for _ in range(3):
        estimate = Estimate(patch, mapping, smooth)
        estimate.relax(3)
        mapping = estimate.registered()
    estimate = Estimate(patch, mapping, smooth, estimate.pixels)
    estimate.binarize(2)
    return _Fit(image, grid, across, down, window, mapping, 1 - estimate.error / max(patch.var(), 1e-6))


def _recovered(fit: _Fit, strongest: float) -> Regridded | None:
    """The halftone on a grid; None unless it explains the image and carries the pilot.

    strongest  the highest score of all possible grids
    """
    image = fit.image
    kernel = _interpolation(fit)
    if kernel is None:
        return None
    estimate = Estimate(image, covering(refined_grid(image, fit.grid), image.shape), kernel)
    outside = estimate.pixels == UNKNOWN
    for _ in range(2):
        estimate.relax(2)
        estimate = Estimate(image, estimate.registered(), kernel, estimate.pixels)
    estimate.relax(8 if min(fit.grid.scales) < EASY_SCALE else 2)
    estimate.binarize(8)
    errors = estimate.errors()
    inside = _extent(estimate, errors)
    if inside is None or np.maximum(errors[inside], 0).mean() > MAX_MEAN_ERROR:
        return None
    is_white = (estimate.pixels[inside] > 0.5) | outside[inside]
    halftone = np.where(is_white, np.uint8(255), np.uint8(0))
    doubtful = float(np.mean(estimate.margins()[inside] < DOUBTFUL))
    pilot = detect_pilot(halftone)
    # Without interpolation a fine grid explains every binary image, so only one of the likeliest is right.
    score = strongest if kernel.name == "nearest" else fit.grid.score
    if not pilot.present or np.sqrt(abs(pilot.inverted)) < MIN_STRENGTH * score or doubtful > MAX_DOUBTFUL:
        return None
    mapping = estimate.mapping
    matrix = mapping.grid_matrix
    corner = matrix @ (np.array([inside[1].start, inside[0].start]) - mapping.shift)
    found = _enlarged(Grid(matrix, corner, fit.grid.score), fit.across, fit.down)
    return Regridded(halftone, found.scales, found.angle, doubtful, found.matrix, found.origin)


def _interpolation(fit: _Fit) -> Kernel | None:
    """The interpolation that explains the most detailed part of the image best; None if none does."""
    patch = np.ascontiguousarray(fit.image[fit.window])
    errors = []
    choices = kernels(fit.grid.scales)
    for kernel in choices:
        estimate = Estimate(patch, fit.mapping, kernel)
        estimate.relax(6)
        estimate.binarize(4)
        errors.append(estimate.error)
    return choices[int(np.argmin(errors))] if min(errors) < (1 - MIN_EXPLAINED) * patch.var() else None


def _extent(estimate: Estimate, errors: np.ndarray) -> tuple[slice, slice] | None:
    """Rows and columns of the halftone in an estimate that may also cover surroundings; None if there is none.

    The bounds of the largest broad set of blocks with dots that are explained, without outer lines that are not.
    If all else is explained too, as black or white, and nothing was turned, the picture is the whole.
    """
    pixels, seen = estimate.pixels, errors >= 0
    along = [np.zeros_like(pixels), np.zeros_like(pixels)]  # changes along each row and along each column
    along[0][:, 1:] = (pixels[:, 1:] != pixels[:, :-1]) & seen[:, 1:] & seen[:, :-1]
    along[1][1:] = (pixels[1:] != pixels[:-1]) & seen[1:] & seen[:-1]
    means = [_block_means(part) for part in (np.maximum(errors, 0), along[0] + along[1])]
    explained = means[0] < MAX_ERROR
    good = (explained & (means[1] > 2 * MIN_DOTS)).astype(np.uint8)
    broad = cv2.morphologyEx(good, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))  # without lines of text and edges
    count, _, stats, _ = cv2.connectedComponentsWithStats(broad)
    if count < 2:
        return None
    left, top, wide, tall, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()].tolist()
    turned = abs(np.degrees(np.arctan2(estimate.mapping.matrix[1, 0], estimate.mapping.matrix[0, 0]))) > 0.1
    if explained.all() and not turned and 2 * wide * tall > explained.size:
        return slice(0, pixels.shape[0]), slice(0, pixels.shape[1])
    box = [max((top - 1) * PERIOD, 0), min((top + tall + 1) * PERIOD, pixels.shape[0])]
    box += [max((left - 1) * PERIOD, 0), min((left + wide + 1) * PERIOD, pixels.shape[1])]
    wrong = errors > MAX_ERROR
    while box[1] - box[0] >= PERIOD and box[3] - box[2] >= PERIOD:  # remove the worst of the outer lines
        rows, columns = slice(box[0], box[1]), slice(box[2], box[3])
        sides = (box[0], columns), (box[1] - 1, columns), (rows, box[2]), (rows, box[3] - 1)
        shares = [wrong[side].mean() + (along[k // 2][side].mean() < MIN_DOTS) for k, side in enumerate(sides)]
        worst = int(np.argmax(shares))
        if shares[worst] <= MAX_WRONG:
            return rows, columns
        box[worst] += -1 if worst % 2 else 1
    return None


def _block_means(values: np.ndarray) -> np.ndarray:
    """Means of blocks of PERIOD² values; at the right and the bottom the last values are repeated."""
    missing = [-side % PERIOD for side in values.shape]
    values = cv2.copyMakeBorder(values, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cv2.resize(values, None, fx=1 / PERIOD, fy=1 / PERIOD, interpolation=cv2.INTER_AREA)
