"""Estimates the binary pixels of a resampled halftone whose grid is known.

Model: pixel x of the image is Σ_n h[n] k(u - n), clipped to [0, 1], with u = B x + b its place in the halftone and k
the separable kernel of the interpolation. The halftone h minimizes the squared error: first by projected coordinate
descent over [0, 1] (least squares with bounds), then over {0, 1}.
"""

from typing import NamedTuple

import numba
import numpy as np

from halftone.dbs import parallel_loop
from reshalf.grid_search import Grid

STEPS = 256
"""Samples of a kernel per pixel of the halftone."""
UNKNOWN = 0.5
"""Level of the pixels outside the image, before the first estimate."""
_BAND = 24
"""Rows of a band; larger than twice the reach of any kernel, so every other band is independent."""


class Kernel(NamedTuple):
    """An interpolation: samples of k for distances 0, 1/STEPS, … along rows and along columns, 0 at their ends."""

    name: str
    along_x: np.ndarray
    along_y: np.ndarray


class Mapping(NamedTuple):
    """Place (column, row) of an image pixel (x, y) in an array of halftone pixels: matrix @ (x, y) + shift."""

    matrix: np.ndarray
    shift: np.ndarray
    shape: tuple[int, int]

    @property
    def grid_matrix(self) -> np.ndarray:
        """The (2, 2) matrix of the opposite direction."""
        return np.linalg.inv(self.matrix)

    def part(self, window: tuple[slice, slice]) -> "Mapping":
        """The mapping of a window of the image to the array of halftone pixels in it."""
        corner = np.array([window[1].start, window[0].start])
        size = window[0].stop - window[0].start, window[1].stop - window[1].start
        return _covering(self.matrix, self.matrix @ corner + self.shift, size)


def covering(grid: Grid, size: tuple[int, int]) -> Mapping:
    """The mapping of an image of (H, W) pixels to an array of all halftone pixels with their centre in it."""
    matrix = np.linalg.inv(grid.matrix)
    return _covering(matrix, -matrix @ grid.origin, size)


def _covering(matrix: np.ndarray, shift: np.ndarray, size: tuple[int, int]) -> Mapping:
    height, width = size
    edges = np.array([(x, y) for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)]) @ matrix.T + shift
    first = np.ceil(edges.min(axis=0) - 1e-2).astype(int)
    last = np.floor(edges.max(axis=0) + 1e-2).astype(int)
    columns, rows = np.maximum(last - first + 1, 1)
    return Mapping(np.ascontiguousarray(matrix), shift - first, (int(rows), int(columns)))


def kernels(scales: tuple[float, float]) -> list[Kernel]:
    """The interpolations of common programs for an enlargement by `scales` along x and y, without duplicates."""

    def sampled(profile, reach: float) -> np.ndarray:
        distance = np.arange(int(np.ceil(reach * STEPS)) + 2) / STEPS
        return np.where(distance < reach, profile(distance), 0).astype(np.float32)

    def area(scale: float) -> np.ndarray:  # a pixel of the halftone averaged over a pixel of the image
        wide, narrow = max(1, 1 / scale), min(1, 1 / scale)
        reach = (wide + narrow) / 2
        return sampled(lambda d: np.clip((reach - d) / narrow, 0, 1) * min(1, scale), reach)

    def stretched(profile, reach: float, scale: float) -> np.ndarray:  # against aliasing where an axis shrinks
        factor = min(1, scale)
        return sampled(lambda d: profile(d * factor) * factor, reach / factor)

    shapes = {
        "nearest": (lambda d: np.ones_like(d), 0.5),
        "linear": (lambda d: 1 - d, 1),
        "cubic": (lambda d: _cubic(d, -0.5), 2),
        "sharp cubic": (lambda d: _cubic(d, -0.75), 2),
        "lanczos": (lambda d: np.sinc(d) * np.sinc(d / 3), 3),
    }
    found = [Kernel("area", *(area(scale) for scale in scales))]
    for name, (profile, reach) in shapes.items():
        found.append(Kernel(name, *(sampled(profile, reach) for _ in scales)))
        if min(scales) < 0.99 and name not in ("nearest", "sharp cubic"):
            found.append(Kernel(f"smooth {name}", *(stretched(profile, reach, scale) for scale in scales)))
    return found


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel, IEEE Trans. ASSP 29 (1981), with the free parameter a."""
    d = distance
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    return np.where(d < 1, near, a * (d**3 - 5 * d**2 + 8 * d - 4))


class Estimate:
    """Pixels of a halftone, estimated from `image`, (H, W) float32 with black 0 and white 1.

    pixels  float32 array of `mapping.shape` in [0, 1], at first UNKNOWN outside the image
    """

    def __init__(self, image: np.ndarray, mapping: Mapping, kernel: Kernel, pixels: np.ndarray | None = None):
        self.image, self.mapping, self.kernel = image, mapping, kernel
        self.pixels = _sampled(image, mapping.matrix, mapping.shift, mapping.shape) if pixels is None else pixels
        self._tables = kernel.along_x, kernel.along_y
        self._weights = np.empty_like(image)
        self._model = np.empty_like(image)
        self._render()

    def _render(self) -> None:
        with parallel_loop():
            _render(self.pixels, self._model, self._weights, self.mapping.matrix, self.mapping.shift, *self._tables)

    def relax(self, sweeps: int) -> None:
        """Improve the pixels as numbers in [0, 1]."""
        for _ in range(sweeps):
            self._run(_RELAX, self.pixels)

    def binarize(self, sweeps: int) -> None:
        """Make the pixels 0 or 1 and improve them as such, until no change helps."""
        self.pixels = (self.pixels > 0.5).astype(np.float32)
        self._render()
        for _ in range(sweeps):
            if not self._run(_FLIP, self.pixels):
                break

    def margins(self) -> np.ndarray:
        """Increase of the squared error if a pixel was flipped, relative to the power of its kernel; 0 if unseen."""
        margins = np.zeros_like(self.pixels)
        self._run(_MEASURE, margins)
        return margins

    def errors(self) -> np.ndarray:
        """Mean squared error of the image around each pixel of the halftone; -1 if unseen."""
        errors = np.full_like(self.pixels, -1)
        self._run(_ERROR, errors)
        return errors

    @property
    def error(self) -> float:
        """Mean squared error of the image."""
        return float(np.mean((self.image - np.clip(self._model, 0, 1)) ** 2))

    def _run(self, task: int, out: np.ndarray) -> int:
        mapping = self.mapping
        with parallel_loop():
            return _sweep(
                task, self.image, self._model, self._weights, self.pixels, out, mapping.grid_matrix, mapping.matrix,
                mapping.shift, *self._tables,
            )  # fmt: skip

    def registered(self) -> Mapping:
        """The mapping after one Gauss-Newton step of the registration of the pixels to the image."""
        centre = np.array(self.image.shape[::-1]) / 2
        system, right = _normal_equations(
            self.image, self.pixels, self.mapping.matrix, self.mapping.shift, centre, max(centre)
        )
        change = np.linalg.solve(system + (1e-6 * np.trace(system) + 1e-9) * np.eye(6), right).reshape(2, 3)
        matrix = self.mapping.matrix + change[:, 1:] / max(centre)
        shift = self.mapping.shift + change[:, 0] - change[:, 1:] @ centre / max(centre)
        return Mapping(np.ascontiguousarray(matrix), shift, self.mapping.shape)


_RELAX, _FLIP, _MEASURE, _ERROR = range(4)


@numba.njit(cache=True)
def _sampled(image, matrix, shift, shape):
    """Bilinear samples of the image at the centres of the halftone's pixels; UNKNOWN outside."""
    height, width = image.shape
    inverse = np.linalg.inv(matrix)
    pixels = np.full(shape, np.float32(UNKNOWN))
    for row in range(shape[0]):
        for column in range(shape[1]):
            u, v = column - shift[0], row - shift[1]
            x, y = inverse[0, 0] * u + inverse[0, 1] * v, inverse[1, 0] * u + inverse[1, 1] * v
            if -0.6 < x < width - 0.4 and -0.6 < y < height - 0.4:
                x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
                left, top = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
                right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
                a, b = x - left, y - top
                pixels[row, column] = (1 - b) * ((1 - a) * image[top, left] + a * image[top, right]) + b * (
                    (1 - a) * image[bottom, left] + a * image[bottom, right]
                )
    return pixels


@numba.njit(cache=True, parallel=True)
def _render(pixels, model, weights, matrix, shift, along_x, along_y):
    """The model of the image; `weights` receives the inverse sum of the kernel over the pixels that exist."""
    rows, columns = pixels.shape
    reach_x, reach_y = (len(along_x) - 1) / STEPS, (len(along_y) - 1) / STEPS
    for y in numba.prange(model.shape[0]):
        for x in range(model.shape[1]):
            u = matrix[0, 0] * x + matrix[0, 1] * y + shift[0]
            v = matrix[1, 0] * x + matrix[1, 1] * y + shift[1]
            total = weight = 0.0
            for row in range(max(int(np.ceil(v - reach_y)), 0), min(int(np.floor(v + reach_y)) + 1, rows)):
                along = along_y[int(abs(v - row) * STEPS + 0.5)]
                for column in range(max(int(np.ceil(u - reach_x)), 0), min(int(np.floor(u + reach_x)) + 1, columns)):
                    factor = along * along_x[int(abs(u - column) * STEPS + 0.5)]
                    weight += factor
                    total += factor * pixels[row, column]
            inverse = 1 / weight if weight > 0.1 else 0.0
            weights[y, x] = inverse
            model[y, x] = total * inverse


@numba.njit(cache=True, parallel=True)
def _sweep(task, image, model, weights, pixels, out, grid, matrix, shift, along_x, along_y):
    """One pass over all pixels of the halftone; returns the number of flipped ones."""
    rows = pixels.shape[0]
    bands = (rows + _BAND - 1) // _BAND
    flipped = 0
    for parity in range(2):
        for band in numba.prange((bands - parity + 1) // 2):
            top = (2 * band + parity) * _BAND
            for row in range(top, min(top + _BAND, rows)):
                flipped += _sweep_row(
                    task, row, image, model, weights, pixels, out, grid, matrix, shift, along_x, along_y
                )
    return flipped


@numba.njit(cache=True)
def _sweep_row(task, row, image, model, weights, pixels, out, grid, matrix, shift, along_x, along_y):
    height, width = image.shape
    reach_x, reach_y = (len(along_x) - 1) / STEPS, (len(along_y) - 1) / STEPS
    far_x = abs(grid[0, 0]) * reach_x + abs(grid[0, 1]) * reach_y
    far_y = abs(grid[1, 0]) * reach_x + abs(grid[1, 1]) * reach_y
    size = (int(2 * far_x) + 2) * (int(2 * far_y) + 2)
    kernel, at_x, at_y = np.empty(size, np.float32), np.empty(size, np.int32), np.empty(size, np.int32)
    flipped = 0
    for column in range(pixels.shape[1]):
        u, v = column - shift[0], row - shift[1]
        centre_x, centre_y = grid[0, 0] * u + grid[0, 1] * v, grid[1, 0] * u + grid[1, 1] * v
        count = 0
        power = error = weight = 0.0
        value = pixels[row, column]
        change = 1 - 2 * value
        for y in range(max(int(np.ceil(centre_y - far_y)), 0), min(int(np.floor(centre_y + far_y)) + 1, height)):
            for x in range(max(int(np.ceil(centre_x - far_x)), 0), min(int(np.floor(centre_x + far_x)) + 1, width)):
                du = abs(matrix[0, 0] * (x - centre_x) + matrix[0, 1] * (y - centre_y))
                dv = abs(matrix[1, 0] * (x - centre_x) + matrix[1, 1] * (y - centre_y))
                if du >= reach_x or dv >= reach_y:
                    continue
                factor = along_x[int(du * STEPS + 0.5)] * along_y[int(dv * STEPS + 0.5)] * weights[y, x]
                if factor == 0:
                    continue
                kernel[count], at_x[count], at_y[count] = factor, x, y
                count += 1
                power += factor * factor
                residual = image[y, x] - min(max(model[y, x], 0.0), 1.0)
                if task == _RELAX:
                    error += factor * residual
                elif task == _ERROR:
                    error += abs(factor) * residual * residual
                    weight += abs(factor)
                else:
                    flip = image[y, x] - min(max(model[y, x] + change * factor, 0.0), 1.0)
                    error += flip * flip - residual * residual
        if power < 1e-3:
            continue
        if task == _MEASURE:
            out[row, column] = error / power
        elif task == _ERROR:
            out[row, column] = error / weight
        else:
            if task == _RELAX:
                change = min(max(value + error / power, 0.0), 1.0) - value
            elif error < 0:
                flipped += 1
            else:
                continue
            out[row, column] = value + change
            for k in range(count):
                model[at_y[k], at_x[k]] += change * kernel[k]
    return flipped


@numba.njit(cache=True)
def _normal_equations(image, pixels, matrix, shift, centre, span):
    """Of the registration by bilinear interpolation: (6, 6) and (6,), for shifts in u and v that are affine in x, y."""
    rows, columns = pixels.shape
    system, right = np.zeros((6, 6)), np.zeros(6)
    row_of = np.empty(6)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            u = matrix[0, 0] * x + matrix[0, 1] * y + shift[0]
            v = matrix[1, 0] * x + matrix[1, 1] * y + shift[1]
            left, top = int(np.floor(u)), int(np.floor(v))
            if left < 0 or top < 0 or left + 1 >= columns or top + 1 >= rows:
                continue
            a, b = u - left, v - top
            p, q, r, s = pixels[top, left], pixels[top, left + 1], pixels[top + 1, left], pixels[top + 1, left + 1]
            slope_u, slope_v = (1 - b) * (q - p) + b * (s - r), (1 - a) * (r - p) + a * (s - q)
            residual = image[y, x] - ((1 - b) * ((1 - a) * p + a * q) + b * ((1 - a) * r + a * s))
            dx, dy = (x - centre[0]) / span, (y - centre[1]) / span
            row_of[0], row_of[1], row_of[2] = slope_u, slope_u * dx, slope_u * dy
            row_of[3], row_of[4], row_of[5] = slope_v, slope_v * dx, slope_v * dy
            for i in range(6):
                right[i] += row_of[i] * residual
                for j in range(6):
                    system[i, j] += row_of[i] * row_of[j]
    return system, right
