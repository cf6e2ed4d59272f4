"""Direct binary search: a halftone that minimises what a model of the eye sees of its error.

Source: M. Analoui, J. Allebach, *Model-based halftoning using direct binary search*, Proc. SPIE 1666 (1992). The cost
is extended here to several terms, each looking at the halftone through its own filter after multiplication by a
carrier, so that a halftone can be searched that carries further signals at frequencies where the eye sees least.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock

import cv2
import numba
import numpy as np

ONE_AT_A_TIME = Lock()
"""Held by whatever numba runs on all cores: some of its threading layers end the process where two threads do that."""
BAND_PIXELS = 1 << 22
"""The gradient is prepared in bands of about so many pixels, which bounds the memory of the filtering."""


@dataclass(frozen=True)
class Term:
    """One quadratic term `weight * || filter ∗ (h * carrier - target) ||²` of the cost, h in {-1, 1}.

    target   (H, W) float, what the filtered, demodulated halftone should be, nominally in [-1, 1]
    filter   (K, K) float, K odd: the point spread through which the error is seen; sums to 1
    weight   factor of the term
    carrier  (row, column) parities: the carrier is (-1)^(row * y + column * x); (0, 0) is no carrier
    """

    target: np.ndarray
    filter: np.ndarray
    weight: float = 1.0
    carrier: tuple[int, int] = (0, 0)


def gaussian_filter(sigma: float, radius: int) -> np.ndarray:
    """Return a (2 radius + 1, 2 radius + 1) float64 Gaussian of standard deviation `sigma` pixels; its sum is 1."""
    taps = cv2.getGaussianKernel(2 * radius + 1, sigma, cv2.CV_64F)
    return taps @ taps.T


def direct_binary_search(
    start: np.ndarray, terms: Sequence[Term] | Callable[[slice], Sequence[Term]], passes: int = 8
) -> np.ndarray:
    """Improve a halftone by toggling pixels and swapping neighbours while that lowers the summed cost of `terms`.

    start   (H, W) uint8 in {0, 255}: the halftone to start from (left untouched)
    terms   of the cost; or, for images whose targets should not all be in memory at once, a function from rows to
            the terms with those rows of their targets
    passes  at most so many sweeps over the image; a sweep without a change ends the search
    Returns (H, W) uint8 in {0, 255}.

    The image is cut into blocks further apart than the filters reach; blocks that cannot see each other are searched
    in parallel, so the result does not depend on the number of threads. Beyond the border the error counts as zero.
    Raises ValueError when a shape or a carrier does not fit.
    """
    search = Search(start, terms)
    search.sweep(passes)
    return search.halftone()


class Search:
    """A direct binary search that can be continued when the cost has changed; arguments as `direct_binary_search`.

    It holds the derivative of the cost by each pixel, so that going on costs no filtering.
    """

    def __init__(self, start: np.ndarray, terms: Sequence[Term] | Callable[[slice], Sequence[Term]]):
        if start.ndim != 2 or start.dtype != np.uint8:
            raise ValueError(f"start must be (H, W) uint8, not {start.shape} {start.dtype}")
        if not callable(terms):
            terms = partial(_rows_of, terms, start.shape)
        kernel = _kernel(terms(slice(0, 1)))
        reach = kernel.shape[0] // 2
        self._kernel, self._changes = kernel, _changes(kernel)
        self._margin = self._changes.shape[-2] // 2, self._changes.shape[-1] // 2
        self._dots = np.pad(np.where(start > 127, np.int8(1), np.int8(-1)), 1)
        height, width = start.shape
        self._gradient = np.zeros((height + 2 * self._margin[0], width + 2 * self._margin[1]), np.float32)
        band = max(64, BAND_PIXELS // width)
        for top in range(0, height, band):
            bottom = min(top + band, height)
            seen = slice(max(top - reach, 0), min(bottom + reach, height))
            part = _gradient(self._dots[1 + seen.start : 1 + seen.stop, 1:-1], terms(seen), seen.start)
            self._inside(slice(top, bottom))[:] = part[top - seen.start : bottom - seen.start]

    def halftone(self) -> np.ndarray:
        """What has been found so far, (H, W) uint8 in {0, 255}."""
        return np.where(self._dots[1:-1, 1:-1] > 0, np.uint8(255), np.uint8(0))

    def prefer(self, rows: slice, price: np.ndarray) -> None:
        """From now on each pixel of `rows` costs `price`, (rows, W) float, more per value in {-1, 1}."""
        self._inside(rows)[:] += np.float32(0.5) * price

    def sweep(self, passes: int) -> None:
        """Search on; at most so many sweeps over the image, fewer when one changes nothing."""
        # Two blocks searched at once must be further apart than the changes at the border of either reach.
        block = max(32, *self._changes.shape[-2:])
        with ONE_AT_A_TIME:
            _search(self._dots, self._gradient, self._kernel, self._changes, passes, block)

    def _inside(self, rows: slice) -> np.ndarray:
        """The derivative without its margin, which spares the search from looking where the image ends."""
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
    """How much each pixel's change moves the gradient around it, (2 reach + 1, 2 reach + 1) float32.

    Carriers are characters of the grid, c(p) c(q) = c(p - q), so all terms share one kernel and one gradient field.
    """
    reach = max(term.filter.shape[0] for term in terms) - 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for term in terms:
        correlation = _autocorrelation(term.filter)
        margin = reach - correlation.shape[0] // 2
        inside = slice(margin, kernel.shape[0] - margin)
        kernel[inside, inside] += term.weight * correlation * carrier_wave(term.carrier, correlation.shape)
    return kernel.astype(np.float32)


def _changes(kernel: np.ndarray) -> np.ndarray:
    """Change of the gradient around a pixel whose value drops by 1: (3, 3, rows, columns) float32, centred on it.

    [1, 1] is for a pixel that changes alone, [1 + i, 1 + j] for one whose neighbour i rows down and j columns right
    takes it. The columns are filled up with zeros to a multiple of what a processor adds at once.
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
    """Half the derivative of the cost by each pixel of (H, W) rows of a halftone that begin at row `top`, float32."""
    gradient = np.zeros(halftone.shape, np.float32)
    for term in terms:
        carrier = carrier_wave(term.carrier, halftone.shape, top)
        error = halftone * carrier - term.target.astype(np.float32)
        seen = _correlate(error, _autocorrelation(term.filter))
        gradient += np.float32(term.weight) * carrier * seen
    return gradient


def _correlate(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlate (H, W) float32 with a symmetric kernel, zeros beyond the border; along lines where it allows that."""
    middle = kernel.shape[0] // 2
    column, row = kernel[:, middle], kernel[middle] / kernel[middle, middle]
    if np.allclose(np.outer(column, row), kernel, rtol=0, atol=1e-9 * np.abs(kernel).max()):
        lines = [((line + line[::-1]) / 2).astype(np.float32) for line in (row, column)]  # exact symmetry is faster
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
    """(H, W) float32 of (-1)^(row y + column x), y from `top`; its centre is +1 for the odd, centred kernels here."""
    row, column = parity
    if row not in (0, 1) or column not in (0, 1):
        raise ValueError(f"a carrier is a pair of parities out of 0 and 1, not {parity}")
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
    """The lower of `best` and what the swaps with pixels i, i + 1 and i + 2 of a row cost besides the own gain."""
    left, centre, right = side + value * gradient[i], middle + value * gradient[i + 1], side + value * gradient[i + 2]
    best = min(best, left if dots[i] == -value else best)
    best = min(best, centre if dots[i + 1] == -value else best)
    return min(best, right if dots[i + 2] == -value else best)


@numba.njit(cache=True)
def _lowest_costs(dots, gradient, rises, y, x, row, column, lowest):
    """What the best change of each of the pixels from (y, x) on costs, to single precision; vectorized.

    rises  of the gradient's centre by a toggle, and by a swap with a pixel beside, below and across
    row, column  of the pixel (y, x) in the gradient with its margin; in the dots they are y + 1, x + 1
    """
    alone, beside, below, across = rises
    count = len(lowest)
    # Views from 0, since indices that might be negative keep the compiler from vectorizing.
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
def _search_block(dots, gradient, kernel, changes, margin, top, left, bottom, right):
    """One sweep over the pixels of a block; returns the number of changes.

    Only pixels whose best change costs less than `margin` in the quick look at their row are looked at closely.
    """
    down, across, reach = changes.shape[2] // 2, changes.shape[3] // 2, kernel.shape[0] // 2
    centre = kernel[reach, reach]
    two = np.float32(2)
    rises = (
        centre,
        two * (centre - kernel[reach, reach + 1]),
        two * (centre - kernel[reach + 1, reach]),
        two * (centre - kernel[reach + 1, reach + 1]),
    )
    lowest = np.empty(right - left, np.float32)
    count = 0
    for y in range(top, bottom):
        _lowest_costs(dots, gradient, rises, y, left, y + down, left + across, lowest)
        for x in range(left, right):
            if lowest[x - left] > margin:
                continue
            value = np.float32(dots[y + 1, x + 1])
            gain = value * gradient[y + down, x + across]
            best = np.float64(centre - gain)  # a quarter of the change in cost when the pixel toggles
            best_i, best_j = 0, 0
            for i in range(-1, 2):
                for j in range(-1, 2):
                    if dots[y + 1 + i, x + 1 + j] == -value:
                        rise = two * (centre - kernel[reach + i, reach + j])
                        cost = rise - gain + value * gradient[y + down + i, x + across + j]
                        if cost < best:
                            best = cost
                            best_i, best_j = i, j
            if best < -1e-6:
                dots[y + 1 + best_i, x + 1 + best_j] = dots[y + 1, x + 1]
                dots[y + 1, x + 1] = -dots[y + 1, x + 1]
                _add(gradient, changes, best_i, best_j, y, x, two * value)
                count += 1
                seen = min(x + reach + 3, right)  # the last whose neighbour's gradient has changed
                _lowest_costs(
                    dots, gradient, rises, y, x + 1, y + down, x + 1 + across, lowest[x + 1 - left : seen - left]
                )
    return count


@numba.njit(cache=True, parallel=True)
def _search(dots, gradient, kernel, changes, passes, block):
    """Sweep over (H + 2, W + 2) int8 dots in {-1, 1} with a border of zeros, and keep their gradient up to date."""
    height, width = dots.shape[0] - 2, dots.shape[1] - 2
    rows = (height + block - 1) // block
    columns = (width + block - 1) // block
    margin = np.float32(1e-5) * np.abs(kernel).sum()  # far above the rounding errors of the quick look
    moved = np.ones((rows + 2, columns + 2), np.int64)
    for _ in range(passes):
        before = moved.copy()
        moved[:] = 0
        for phase in range(4):
            first_row, first_column = phase // 2, phase % 2
            tall = (rows - first_row + 1) // 2
            wide = (columns - first_column + 1) // 2
            for index in numba.prange(tall * wide):
                row = first_row + 2 * (index // wide)
                column = first_column + 2 * (index % wide)
                # A block around which nothing changed since its last sweep has nothing left to do.
                around = before[row : row + 3, column : column + 3].sum()
                around += moved[row : row + 3, column : column + 3].sum()
                if around > 0:
                    moved[row + 1, column + 1] = _search_block(
                        dots,
                        gradient,
                        kernel,
                        changes,
                        margin,
                        row * block,
                        column * block,
                        min((row + 1) * block, height),
                        min((column + 1) * block, width),
                    )
        if moved.sum() == 0:
            break
