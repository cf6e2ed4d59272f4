"""Direct binary search: halftoning that minimizes the error perceived under a model of the eye.

Source: M. Analoui, J. Allebach, *Model-based halftoning using direct binary search*, Proc. SPIE 1666 (1992). The cost
is extended here to several terms, each with its own filter and a carrier that the halftone is multiplied by first. A
halftone can thus carry further signals at frequencies where the eye is least sensitive.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock

import cv2
import numba
import numpy as np

_ONE_LOOP_AT_A_TIME = Lock()
BAND_PIXELS = 1 << 22
"""Pixels per band when the initial gradient is computed, which bounds the memory of the filtering."""


@dataclass(frozen=True)
class Term:
    """One quadratic term `weight * || filter ∗ (h * carrier - target) ||²` of the cost, h in {-1, 1}.

    target   (H, W) float, what the filtered, demodulated halftone should be, nominally in [-1, 1]
    filter   (K, K) float, K odd: point spread function applied to the error; sums to 1
    weight   factor of the term
    carrier  (row, column) parities: the carrier is (-1)^(row * y + column * x); (0, 0) means no carrier
    """

    target: np.ndarray
    filter: np.ndarray
    weight: float = 1.0
    carrier: tuple[int, int] = (0, 0)


def parallel_loop() -> AbstractContextManager:
    """Context of a parallel loop of numba: excludes other threads unless the threading layer allows several.

    The layer "workqueue" aborts the process if two threads run a parallel loop. Before the first loop it is unknown.
    """
    try:
        safe = numba.threading_layer() in ("omp", "tbb")
    except ValueError:  # no loop has run yet
        safe = False
    return nullcontext() if safe else _ONE_LOOP_AT_A_TIME


def gaussian_filter(sigma: float, radius: int) -> np.ndarray:
    """Return a (2 radius + 1, 2 radius + 1) float64 Gaussian of standard deviation `sigma` pixels; its sum is 1."""
    taps = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_64F)
    return taps @ taps.T


def direct_binary_search(
    start: np.ndarray, terms: Sequence[Term] | Callable[[slice], Sequence[Term]], passes: int = 8
) -> np.ndarray:
    """Improve a halftone by toggling pixels and swapping neighbours while that lowers the summed cost of `terms`.

    start   (H, W) uint8 in {0, 255}: the halftone to start from (left untouched)
    terms   of the cost; or, to bound the memory of large images, a function that returns the terms with the given rows
            of their targets
    passes  maximum number of passes over the image; a pass without a change ends the search
    Returns (H, W) uint8 in {0, 255}.

    The image is divided into blocks at least as large as the filters' support. Blocks that do not influence each other
    are searched in parallel, so the result does not depend on the number of threads. The error is 0 beyond the border.
    Raises ValueError for a wrong shape or carrier.
    """
    search = Search(start, terms)
    search.run(passes)
    return search.halftone()


class Search:
    """A direct binary search that can continue after a change of the cost; arguments as `direct_binary_search`.

    It keeps the derivative of the cost with respect to each pixel up to date, so continuing needs no filtering.
    """

    def __init__(self, start: np.ndarray, terms: Sequence[Term] | Callable[[slice], Sequence[Term]]):
        if start.ndim != 2 or start.dtype != np.uint8:
            raise ValueError(f"start must be (H, W) uint8, not {start.shape} {start.dtype}")
        if not callable(terms):
            terms = partial(_rows_of, terms, start.shape)
        kernel = _kernel(terms(slice(0, 1)))
        radius = kernel.shape[0] // 2
        self._kernel, self._changes = kernel, _changes(kernel)
        self._margin = self._changes.shape[-2] // 2, self._changes.shape[-1] // 2
        self._dots = np.pad(np.where(start > 127, np.int8(1), np.int8(-1)), 1)
        height, width = start.shape
        self._gradient = np.zeros((height + 2 * self._margin[0], width + 2 * self._margin[1]), np.float32)
        band = max(64, BAND_PIXELS // width)
        for top in range(0, height, band):
            bottom = min(top + band, height)
            context = slice(max(top - radius, 0), min(bottom + radius, height))
            part = _gradient(self._dots[1 + context.start : 1 + context.stop, 1:-1], terms(context), context.start)
            self._inside(slice(top, bottom))[:] = part[top - context.start : bottom - context.start]

    def halftone(self) -> np.ndarray:
        """Return the current halftone, (H, W) uint8 in {0, 255}."""
        return np.where(self._dots[1:-1, 1:-1] > 0, np.uint8(255), np.uint8(0))

    def add_linear_term(self, rows: slice, coefficients: np.ndarray) -> None:
        """Add Σ coefficients · h over `rows` to the cost, h in {-1, 1}; coefficients: (rows, W) float."""
        self._inside(rows)[:] += np.float32(0.5) * coefficients

    def anchor(self, filter: np.ndarray, weight: float) -> None:
        """Add weight · || filter ∗ (h - a) ||² to the cost, a (H, W) being the current halftone; once for a search.

        filter  (K, K) float, K odd and no larger than the largest filter of the terms
        """
        self._anchor = weight * _autocorrelation(filter)
        margin = self._kernel.shape[0] // 2 - self._anchor.shape[0] // 2
        self._kernel += np.pad(self._anchor, margin).astype(np.float32)
        self._changes = _changes(self._kernel)

    def move_anchor(self, rows: slice, change: np.ndarray) -> None:
        """Add `change`, (rows, W) float32, to these rows of the anchor."""
        radius = self._anchor.shape[0] // 2
        part = _correlate(np.pad(change, ((radius, radius), (0, 0))), self._anchor)
        top, left = self._margin[0] + rows.start - radius, self._margin[1]
        self._gradient[top : top + len(part), left:-left] -= part

    def run(self, passes: int) -> None:
        """Continue the search for at most `passes` passes over the image; a pass without a change ends it."""
        # Changes at the borders of two blocks searched in parallel must not overlap.
        block = max(32, *self._changes.shape[-2:])
        with parallel_loop():
            _search(self._dots, self._gradient, self._kernel, self._changes, passes, block)

    def _inside(self, rows: slice) -> np.ndarray:
        """The derivative without its margin; the margin saves the search from checking for the image border."""
        top, left = self._margin
        return self._gradient[top + rows.start : top + rows.stop, left:-left]


def _rows_of(terms: Sequence[Term], shape: tuple[int, int], rows: slice) -> list[Term]:
    if not terms:
        raise ValueError("direct binary search needs at least one term")
    for term in terms:
        if term.target.shape != shape:
            raise ValueError(f"a target of shape {term.target.shape} does not fit a halftone of shape {shape}")
    return [replace(term, target=term.target[rows]) for term in terms]


def _kernel(terms: Sequence[Term]) -> np.ndarray:
    """Change of the gradient around a pixel per unit change of its value: (2 radius + 1, 2 radius + 1) float32.

    Carriers are characters of the grid, c(p) c(q) = c(p - q), so all terms share one kernel and one gradient.
    """
    radius = max(term.filter.shape[0] for term in terms) - 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    for term in terms:
        correlation = _autocorrelation(term.filter)
        margin = radius - correlation.shape[0] // 2
        inside = slice(margin, kernel.shape[0] - margin)
        kernel[inside, inside] += term.weight * correlation * carrier_wave(term.carrier, correlation.shape)
    return kernel.astype(np.float32)


def _changes(kernel: np.ndarray) -> np.ndarray:
    """Change of the gradient around a pixel whose value drops by 1: (3, 3, rows, columns) float32, centred on it.

    [1, 1] is for a single toggle, [1 + i, 1 + j] for a swap with the neighbour i rows down and j columns right. The
    columns are zero-padded to a multiple of the SIMD width.
    """
    size = kernel.shape[0]
    columns = -(-(size + 2) // 16) * 16
    left = columns // 2 - size // 2
    changes = np.zeros((3, 3, size + 2, columns), np.float32)
    changes[:, :, 1 : 1 + size, left : left + size] = -kernel
    for i in range(3):
        for j in range(3):
            if (i, j) != (1, 1):
                changes[i, j, i : i + size, left + j - 1 : left + j - 1 + size] += kernel
    return changes


def _gradient(halftone: np.ndarray, terms: Sequence[Term], top: int) -> np.ndarray:
    """Half the derivative of the cost with respect to each pixel of (H, W) rows that begin at row `top`, float32."""
    gradient = np.zeros(halftone.shape, np.float32)
    for term in terms:
        carrier = carrier_wave(term.carrier, halftone.shape, top)
        error = halftone * carrier - term.target.astype(np.float32)
        gradient += np.float32(term.weight) * carrier * _correlate(error, _autocorrelation(term.filter))
    return gradient


def _correlate(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate (H, W) float32 with a symmetric kernel, zero-padded; separably if the kernel is separable."""
    middle = kernel.shape[0] // 2
    column, row = kernel[:, middle], kernel[middle] / kernel[middle, middle]
    if np.allclose(np.outer(column, row), kernel, rtol=0, atol=1e-9 * np.abs(kernel).max()):
        lines = [
            ((line + line[::-1]) / 2).astype(np.float32) for line in (row, column)
        ]  # OpenCV is faster for exactly symmetric taps
        return cv2.sepFilter2D(image, cv2.CV_32F, *lines, borderType=cv2.BORDER_CONSTANT)
    return cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)


def _autocorrelation(kernel: np.ndarray) -> np.ndarray:
    """Full autocorrelation of a (K, K) filter: (2 K - 1, 2 K - 1) float64."""
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise ValueError(f"a filter must be square with an odd side, not {kernel.shape}")
    size = 2 * kernel.shape[0] - 1
    spectrum = np.abs(np.fft.fft2(kernel, (size, size))) ** 2
    return np.fft.fftshift(np.fft.ifft2(spectrum).real)


def carrier_wave(parity: tuple[int, int], shape: tuple[int, int], top: int = 0) -> np.ndarray:
    """(H, W) float32 of (-1)^(row y + column x), y from `top`; +1 at the centre of the autocorrelations here."""
    row, column = parity
    if row not in (0, 1) or column not in (0, 1):
        raise ValueError(f"a carrier is a pair of parities 0 or 1, not {parity}")
    rows, columns = row * np.arange(top, top + shape[0]), column * np.arange(shape[1])
    return np.outer(*((1 - 2 * (line % 2)).astype(np.float32) for line in (rows, columns)))


@numba.njit(cache=True)
def _add(gradient, changes, down, right, y, x, amount):
    for i in range(changes.shape[2]):
        line, change = gradient[y + i, x : x + changes.shape[3]], changes[1 + down, 1 + right, i]
        for j in range(len(change)):
            line[j] += amount * change[j]


@numba.njit(cache=True)
def _cheapest(best, value, dots, gradient, i, side, middle):
    """The minimum of `best` and the costs of the swaps with pixels i, i + 1 and i + 2 of a row, own gain excluded."""
    left, centre, right = side + value * gradient[i], middle + value * gradient[i + 1], side + value * gradient[i + 2]
    best = min(best, left if dots[i] == -value else best)
    best = min(best, centre if dots[i + 1] == -value else best)
    return min(best, right if dots[i + 2] == -value else best)


@numba.njit(cache=True)
def _lowest_costs(dots, gradient, rises, y, x, row, column, lowest):
    """Cost of the best change of each pixel of a row from (y, x) on, in float32; vectorized.

    rises  quadratic part of the cost of a toggle, and of a swap with a horizontal, vertical and diagonal neighbour
    row, column  index of the pixel (y, x) in the gradient with its margin; its index in the dots is (y + 1, x + 1)
    """
    alone, beside, below, across = rises
    count = len(lowest)
    # Views that start at 0: possibly negative indices prevent vectorization.
    dots_above, gradient_above = dots[y, x : x + count + 2], gradient[row - 1, column - 1 : column + count + 1]
    dots_here, gradient_here = dots[y + 1, x : x + count + 2], gradient[row, column - 1 : column + count + 1]
    dots_under, gradient_under = dots[y + 2, x : x + count + 2], gradient[row + 1, column - 1 : column + count + 1]
    for i in range(count):
        value = np.float32(dots_here[i + 1])
        best = _cheapest(alone, value, dots_above, gradient_above, i, across, below)
        best = _cheapest(best, value, dots_here, gradient_here, i, beside, below)
        best = _cheapest(best, value, dots_under, gradient_under, i, across, below)
        lowest[i] = best - value * gradient_here[i + 1]


@numba.njit(cache=True)
def _search_block(dots, gradient, kernel, changes, tolerance, top, left, bottom, right):
    """One pass over the pixels of a block; returns the number of changes.

    Only pixels whose best change costs less than `tolerance` in the vectorized estimate are evaluated exactly.
    """
    down, across, radius = changes.shape[2] // 2, changes.shape[3] // 2, kernel.shape[0] // 2
    centre = kernel[radius, radius]
    two = np.float32(2)
    rises = (
        centre,
        two * (centre - kernel[radius, radius + 1]),
        two * (centre - kernel[radius + 1, radius]),
        two * (centre - kernel[radius + 1, radius + 1]),
    )
    lowest = np.empty(right - left, np.float32)
    count = 0
    for y in range(top, bottom):
        _lowest_costs(dots, gradient, rises, y, left, y + down, left + across, lowest)
        for x in range(left, right):
            if lowest[x - left] > tolerance:
                continue
            value = np.float32(dots[y + 1, x + 1])
            gain = value * gradient[y + down, x + across]
            best = np.float64(centre - gain)  # a quarter of the change in cost when the pixel toggles
            best_i, best_j = 0, 0
            for i in range(-1, 2):
                for j in range(-1, 2):
                    if dots[y + 1 + i, x + 1 + j] == -value:
                        rise = two * (centre - kernel[radius + i, radius + j])
                        cost = rise - gain + value * gradient[y + down + i, x + across + j]
                        if cost < best:
                            best = cost
                            best_i, best_j = i, j
            if best < -1e-6:
                dots[y + 1 + best_i, x + 1 + best_j] = dots[y + 1, x + 1]
                dots[y + 1, x + 1] = -dots[y + 1, x + 1]
                _add(gradient, changes, best_i, best_j, y, x, two * value)
                count += 1
                stop = min(x + radius + 3, right)  # last pixel with a neighbour whose gradient has changed
                _lowest_costs(
                    dots, gradient, rises, y, x + 1, y + down, x + 1 + across, lowest[x + 1 - left : stop - left]
                )
    return count


@numba.njit(cache=True, parallel=True, nogil=True)
def _search(dots, gradient, kernel, changes, passes, block):
    """Search (H + 2, W + 2) int8 dots in {-1, 1} with a border of zeros; updates dots and gradient in place."""
    height, width = dots.shape[0] - 2, dots.shape[1] - 2
    rows = (height + block - 1) // block
    columns = (width + block - 1) // block
    tolerance = np.float32(1e-5) * np.abs(kernel).sum()  # far above the rounding errors of the estimate
    changed = np.ones((rows + 2, columns + 2), np.int64)
    for _ in range(passes):
        before = changed.copy()
        changed[:] = 0
        for phase in range(4):
            first_row, first_column = phase // 2, phase % 2
            tall = (rows - first_row + 1) // 2
            wide = (columns - first_column + 1) // 2
            for index in numba.prange(tall * wide):
                row = first_row + 2 * (index // wide)
                column = first_column + 2 * (index % wide)
                # Skip a block if nothing in it or its neighbours has changed since its last pass.
                around = before[row : row + 3, column : column + 3].sum()
                around += changed[row : row + 3, column : column + 3].sum()
                if around > 0:
                    changed[row + 1, column + 1] = _search_block(
                        dots,
                        gradient,
                        kernel,
                        changes,
                        tolerance,
                        row * block,
                        column * block,
                        min((row + 1) * block, height),
                        min((column + 1) * block, width),
                    )
        if changed.sum() == 0:
            break
