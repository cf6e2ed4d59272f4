"""Direct binary search: a halftone that minimises what a model of the eye sees of its error.

Source: M. Analoui, J. Allebach, *Model-based halftoning using direct binary search*, Proc. SPIE 1666 (1992). The cost
is extended here to several terms, each looking at the halftone through its own filter after multiplication by a
carrier, so that a halftone can be searched that carries further signals at frequencies where the eye sees least.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numba
import numpy as np

BAND_PIXELS = 1 << 22
"""The slope is prepared in bands of about so many pixels, which bounds the memory of the filtering."""


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
    line = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    line /= line.sum()
    return np.outer(line, line)


def direct_binary_search(
    start: np.ndarray,
    terms: Sequence[Term] | Callable[[slice], Sequence[Term]],
    passes: int = 8,
    preference: Callable[[slice], np.ndarray] | None = None,
) -> np.ndarray:
    """Improve a halftone by toggling pixels and swapping neighbours while that lowers the summed cost of `terms`.

    start       (H, W) uint8 in {0, 255}: the halftone to start from (left untouched)
    terms       of the cost; or, for images whose targets should not all be in memory at once, a function from rows to
                the terms with those rows of their targets
    passes      at most so many sweeps over the image; a sweep without a change ends the search
    preference  from rows to (rows, W) float: what each pixel costs besides, times its value in {-1, 1}
    Returns (H, W) uint8 in {0, 255}.

    The image is cut into blocks further apart than the filters reach; blocks that cannot see each other are searched
    in parallel, so the result does not depend on the number of threads. Beyond the border the error counts as zero.
    Raises ValueError when a shape or a carrier does not fit.
    """
    if start.ndim != 2 or start.dtype != np.uint8:
        raise ValueError(f"start must be (H, W) uint8, not {start.shape} {start.dtype}")
    if not callable(terms):
        terms = partial(_rows_of, terms, start.shape)
    kernel = _kernel(terms(slice(0, 1)))
    reach = kernel.shape[0] // 2
    height, width = start.shape
    halftone = np.where(start > 127, np.int8(1), np.int8(-1))
    slope = np.zeros((height + 2 * reach, width + 2 * reach), np.float32)
    band = max(64, BAND_PIXELS // width)
    for top in range(0, height, band):
        bottom = min(top + band, height)
        seen = slice(max(top - reach, 0), min(bottom + reach, height))
        part = _slope(halftone[seen], terms(seen), seen.start)[top - seen.start : bottom - seen.start]
        if preference is not None:
            part = part + np.float32(0.5) * preference(slice(top, bottom))
        slope[reach + top : reach + bottom, reach : reach + width] = part
    # Two blocks searched at once must be further apart than two reaches, plus the neighbour each may swap with.
    block = max(32, 2 * reach + 4)
    _search(halftone, slope, kernel, passes, block)
    return np.where(halftone > 0, np.uint8(255), np.uint8(0))


def _rows_of(terms: Sequence[Term], shape: tuple[int, int], rows: slice) -> list[Term]:
    if not terms:
        raise ValueError("direct binary search needs at least one term")
    for term in terms:
        if term.target.shape != shape:
            raise ValueError(f"a target of shape {term.target.shape} does not fit a halftone of shape {shape}")
    return [replace(term, target=term.target[rows]) for term in terms]


def _kernel(terms: Sequence[Term]) -> np.ndarray:
    """How much each pixel's change moves the slope around it, (2 reach + 1, 2 reach + 1) float32.

    Carriers are characters of the grid, c(p) c(q) = c(p - q), so all terms share one kernel and one slope field.
    """
    reach = max(term.filter.shape[0] for term in terms) - 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for term in terms:
        correlation = _autocorrelation(term.filter)
        margin = reach - correlation.shape[0] // 2
        inside = slice(margin, kernel.shape[0] - margin)
        kernel[inside, inside] += term.weight * correlation * carrier_wave(term.carrier, correlation.shape)
    return kernel.astype(np.float32)


def _slope(halftone: np.ndarray, terms: Sequence[Term], top: int) -> np.ndarray:
    """Half the derivative of the cost by each pixel of (H, W) rows of a halftone that begin at row `top`, float32."""
    slope = np.zeros(halftone.shape, np.float32)
    for term in terms:
        carrier = carrier_wave(term.carrier, halftone.shape, top)
        error = halftone * carrier - term.target.astype(np.float32)
        seen = cv2.filter2D(error, cv2.CV_32F, _autocorrelation(term.filter), borderType=cv2.BORDER_CONSTANT)
        slope += np.float32(term.weight) * carrier * seen
    return slope


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
    y = np.arange(top, top + shape[0], dtype=np.int64)[:, None]
    x = np.arange(shape[1], dtype=np.int64)[None, :]
    return (1 - 2 * ((row * y + column * x) & 1)).astype(np.float32)


@numba.njit(cache=True)
def _add(slope, kernel, y, x, amount):
    for i in range(kernel.shape[0]):
        line = slope[y + i, x : x + kernel.shape[1]]
        for j in range(kernel.shape[1]):
            line[j] += amount * kernel[i, j]


@numba.njit(cache=True)
def _lowest_costs(halftone, slope, kernel, y, left, right, lowest):
    """What the best change of each pixel of a row costs, to single precision: lowest[left:right], vectorized."""
    height, width = halftone.shape
    reach = kernel.shape[0] // 2
    centre = kernel[reach, reach]
    two, never = np.float32(2), np.float32(np.inf)
    here, row = halftone[y, left:right], slope[y + reach, reach + left : reach + right]
    for i in range(right - left):
        lowest[i] = centre - np.float32(here[i]) * row[i]
    for v in range(max(y - 1, 0), min(y + 2, height)):
        for shift in range(-1, 2):
            start, stop = max(left, -shift), min(right, width - shift)
            # Views from 0, since indices that might be negative keep the compiler from vectorizing.
            here, there = halftone[y, start:stop], halftone[v, start + shift : stop + shift]
            row = slope[y + reach, reach + start : reach + stop]
            other = slope[v + reach, reach + start + shift : reach + stop + shift]
            costs = lowest[start - left : stop - left]
            rise = two * (centre - kernel[reach + v - y, reach + shift])
            for i in range(stop - start):
                cost = rise + np.float32(here[i]) * (other[i] - row[i])
                costs[i] = min(costs[i], cost if there[i] != here[i] else never)


@numba.njit(cache=True)
def _search_block(halftone, slope, kernel, margin, top, left, bottom, right):
    """One sweep over the pixels of a block; returns the number of changes.

    Only pixels whose best change costs less than `margin` in the quick look at their row are looked at closely.
    """
    height, width = halftone.shape
    reach = kernel.shape[0] // 2
    centre = kernel[reach, reach]
    lowest = np.empty(right - left, np.float32)
    changes = 0
    for y in range(top, bottom):
        looked_from = left
        _lowest_costs(halftone, slope, kernel, y, left, right, lowest)
        for x in range(left, right):
            if lowest[x - looked_from] > margin:
                continue
            value = np.float32(halftone[y, x])
            gain = value * slope[y + reach, x + reach]
            best = np.float64(centre - gain)  # a quarter of the change in cost when the pixel toggles
            best_y, best_x = y, x
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if halftone[v, u] != halftone[y, x]:
                        cost = (
                            2 * (centre - kernel[reach + v - y, reach + u - x])
                            - gain
                            + value * slope[v + reach, u + reach]
                        )
                        if cost < best:
                            best = cost
                            best_y, best_x = v, u
            if best < -1e-6:
                halftone[y, x] = -halftone[y, x]
                _add(slope, kernel, y, x, np.float32(-2) * value)
                if best_y != y or best_x != x:
                    halftone[best_y, best_x] = -halftone[best_y, best_x]
                    _add(slope, kernel, best_y, best_x, np.float32(2) * value)
                changes += 1
                looked_from = x + 1
                _lowest_costs(halftone, slope, kernel, y, looked_from, right, lowest)
    return changes


@numba.njit(cache=True, parallel=True)
def _search(halftone, slope, kernel, passes, block):
    height, width = halftone.shape
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
                        halftone,
                        slope,
                        kernel,
                        margin,
                        row * block,
                        column * block,
                        min((row + 1) * block, height),
                        min((column + 1) * block, width),
                    )
        if moved.sum() == 0:
            break
