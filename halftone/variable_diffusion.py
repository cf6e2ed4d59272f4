"""Error diffusion whose coefficients vary with the input level: Ostromoukhov, Zhou-Fang."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from halftone.checks import as_gray
from halftone.noise import uniform

DATA = Path(__file__).parent / "data"

LANES = 5  # segments of a row processed in parallel; `_scan` is unrolled for this number
WARM_UP = 80  # pixels before a segment after which its unknown initial error has almost always vanished


def ostromoukhov(
    gray: np.ndarray, *, table_index: np.ndarray | None = None, threshold: float | np.ndarray = 127.5
) -> np.ndarray:
    """Diffuse with coefficients that depend on the level, serpentine; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating. Floats may be outside 0..255 when `table_index` is given (a composite signal).
    table_index: uint8 (H, W), the level that selects the coefficients. Default: gray, rounded; in this case an input of
    exactly 0 is always black.
    threshold: scalar or (H, W); white if level > threshold.
    Errors beyond a border are discarded. Double precision, multiplication before division, each rounded: bit-identical
    to the author's program.
    Raises TypeError or ValueError for a wrong dtype, shape or range.
    Source: V. Ostromoukhov, A Simple and Efficient Error-Diffusion Algorithm, SIGGRAPH 2001.
    """
    gray = as_gray(gray, bounded=table_index is None)
    return next(_ostromoukhov_bands([(gray, table_index, threshold)]))


def ostromoukhov_bands(bands: Iterable[tuple[np.ndarray, np.ndarray, float | np.ndarray]]) -> Iterator[np.ndarray]:
    """`ostromoukhov` on an image given as bands of rows from top to bottom; yields the halftone of each band.

    bands: for each gray floating (h, W), table_index uint8 (h, W) and threshold, scalar or (h, W). The halftones, uint8
    {0, 255} (h, W), equal those of the whole image; one row of errors is kept between bands.
    Raises TypeError or ValueError as `ostromoukhov` does.
    """
    return _ostromoukhov_bands((as_gray(gray, bounded=False), *rest) for gray, *rest in bands)


def _ostromoukhov_bands(bands: Iterable[tuple]) -> Iterator[np.ndarray]:
    above, top = None, 0
    for gray, table_index, threshold in bands:
        zero_is_black = table_index is None
        if table_index is None:
            table_index = _rounded(gray)
        elif table_index.dtype != np.uint8 or table_index.shape != gray.shape:
            found = f"{table_index.dtype} of shape {table_index.shape}"
            raise ValueError(f"table_index must be uint8 of shape {gray.shape}, not {found}")
        thresholds = np.atleast_2d(np.asarray(threshold, np.float64))
        if thresholds.shape not in ((1, 1), gray.shape):
            raise ValueError(f"threshold must be a number or have shape {gray.shape}, not {thresholds.shape}")
        if above is None:
            above = np.zeros(gray.shape[1] + 2)
        planes = gray, np.ascontiguousarray(table_index), np.ascontiguousarray(thresholds)
        yield _diffuse(*planes, _NO_MODULATION, 0, _shares(*ostromoukhov_table()), zero_is_black, above, top)
        top += len(gray)


def zhou_fang(gray: np.ndarray, *, modulation: float = 1.0, seed: int = 0) -> np.ndarray:
    """Diffuse with level-dependent coefficients and threshold noise, serpentine; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. modulation: factor on the published strength of the threshold noise.
    White if level > 127 where the strength m is 0, elsewhere if level > 128 + floor(m r / 100), r a uniform integer in
    0..127. Coefficients and strengths: data/zhou_fang.csv, from the authors' released program, whose table has
    additional key levels at 40 and 80 and differs at 2 and 102 from the usual transcription of the paper's table.
    Double precision, while that program diffuses integers; noise depends on `seed` and the pixel.
    Raises TypeError or ValueError for a wrong dtype, shape or range.
    Source: B. Zhou, X. Fang, Improving Mid-tone Quality of Variable-coefficient Error Diffusion Using Threshold
    Modulation, SIGGRAPH 2003.
    """
    gray = as_gray(gray)
    table, strength = zhou_fang_table()
    thresholds = np.full((1, 1), 127.0)
    noise = _frozen(modulation * strength)[0], seed & 0xFFFFFFFF
    return _diffuse(gray, _rounded(gray), thresholds, *noise, _shares(*table), False, np.zeros(gray.shape[1] + 2), 0)


_NO_MODULATION = np.zeros(256)
_NO_MODULATION.setflags(write=False)


@cache
def ostromoukhov_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return right, down-left and the sum of right, down-left and down for each input level: three float64 (256,)."""
    right, down_left, _, total = np.loadtxt(DATA / "ostromoukhov.csv", delimiter=",", unpack=True)
    return _frozen(right, down_left, total)


@cache
def zhou_fang_table() -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return shares as `ostromoukhov_table` does, with sum 1, and the modulation in percent, float64 (256,)."""
    level, *shares, strength = np.loadtxt(DATA / "zhou_fang.csv", delimiter=",", unpack=True)
    total = sum(shares)
    dark = np.arange(128)
    right, down_left = (np.interp(dark, level, share / total) for share in shares[:2])
    keyed = strength >= 0
    strength = np.floor(np.interp(dark, level[keyed], strength[keyed]))
    right, down_left, strength = (np.concatenate([half, half[::-1]]) for half in (right, down_left, strength))
    return _frozen(right, down_left, np.ones(256)), *_frozen(strength)


def _frozen(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    copies = tuple(np.ascontiguousarray(array) for array in arrays)
    for array in copies:
        array.setflags(write=False)
    return copies


def _rounded(gray: np.ndarray) -> np.ndarray:
    return gray if gray.dtype == np.uint8 else np.rint(gray).astype(np.uint8)


def _shares(right: np.ndarray, down_left: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Return float64 (1024,): right, down-left, total and its reciprocal, interleaved by level."""
    return np.column_stack([right, down_left, total, 1 / total]).ravel()


@njit(cache=True, nogil=True, error_model="numpy")
def _diffuse(gray, index, thresholds, modulation, seed, shares, zero_is_black, above, top):
    """Halftone the rows from `top` on.

    above: (W + 2,), errors from the row above, with one element for each border; updated to those of the last row.
    """
    height, width = gray.shape
    out = np.empty((height, width), np.uint8)
    threshold = np.empty(width)
    here, below = above.copy(), np.empty(width + 2)
    length = _segment_length(width)
    noisy = modulation.any()
    for y in range(height):
        step = -1 if (top + y) & 1 else 1
        source, line, levels = gray[y], out[y], index[y]
        if y < len(thresholds):
            threshold[:] = thresholds[y]
        if noisy:
            for x in range(width):
                strength = modulation[levels[x]]
                if strength > 0:
                    threshold[x] = 128 + np.floor(np.floor(128 * uniform(seed, top + y, x)) * strength / 100)
                else:
                    threshold[x] = 127
        behind = below[1 - step : 1 - step + width]
        buffers = source, levels, here[1 : 1 + width], threshold, shares, line, behind
        below[width if step == 1 else 1] = _scan(buffers, step, length)
        here, below = below, here
        if zero_is_black:
            for x in range(width):
                line[x] = 0 if source[x] == 0 else line[x]
    above[:] = here
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(buffers, direction, length):
    """Write a row's halftone and its errors for the next row; bit-identical to a pixel-by-pixel scan.

    buffers: inputs gray, index, above, threshold and shares; outputs line and behind, where behind[x] belongs to the
    pixel scanned before x. length: of a segment in pixels, 0 for a plain scan. Returns the error of the last pixel for
    the pixel straight below it.

    The dependency from pixel to pixel limits the speed and leaves the processor's pipelines idle, so LANES segments are
    scanned in an interleaved loop. Each segment but the first starts WARM_UP pixels early with an error of 0. A wrong
    initial error decays below the rounding error, since each step keeps less than three quarters of it. Afterwards the
    start of each segment is computed again with the true error, until it equals the error the segment had there; from
    this pixel on both are identical, for any LANES and WARM_UP. Indices are unsigned, which avoids checks for negative
    ones.
    """
    step, width = np.uint64(direction), np.uint64(len(buffers[0]))
    x = first = np.uint64(0 if direction == 1 else width - 1)
    carry = down = 0.0
    if length > 0:
        lane = step * np.uint64(length)
        lane2, lane3, lane4 = np.uint64(2) * lane, np.uint64(3) * lane, np.uint64(4) * lane
        c0 = c1 = c2 = c3 = c4 = 0.0
        d0 = d1 = d2 = d3 = d4 = 0.0
        x = first - step * np.uint64(WARM_UP)
        for _ in range(WARM_UP):
            c1 = _decide(x + lane, buffers, c1)[2]
            c2 = _decide(x + lane2, buffers, c2)[2]
            c3 = _decide(x + lane3, buffers, c3)[2]
            c4 = _decide(x + lane4, buffers, c4)[2]
            x += step
        guesses = (c0, c1, c2, c3, c4)
        for _ in range(length):
            c0, d0 = _diffuse_pixel(x, buffers, c0, d0)
            c1, d1 = _diffuse_pixel(x + lane, buffers, c1, d1)
            c2, d2 = _diffuse_pixel(x + lane2, buffers, c2, d2)
            c3, d3 = _diffuse_pixel(x + lane3, buffers, c3, d3)
            c4, d4 = _diffuse_pixel(x + lane4, buffers, c4, d4)
            x += step
        carries, downs = (c0, c1, c2, c3, c4), (d0, d1, d2, d3, d4)
        carry, down = c0, d0
        for i in range(1, LANES):
            guess = guesses[i]
            for _ in range(length):
                converged = guess == carry
                guess = _decide(x, buffers, guess)[2]
                carry, down = _diffuse_pixel(x, buffers, carry, down)
                x += step
                if converged:
                    carry, down = carries[i], downs[i]
                    break
            x = first + np.uint64(i + 1) * lane
    while x != first + step * width:
        carry, down = _diffuse_pixel(x, buffers, carry, down)
        x += step
    return down


@njit(inline="always")
def _diffuse_pixel(x, buffers, carry, down):
    """Write pixel x; return its errors for the next pixel and straight down. carry, down: those of the previous."""
    shares, line, behind = buffers[4:]
    white, error, carry, i = _decide(x, buffers, carry)
    line[x] = 255 if white else 0
    back = _quotient(shares[i + np.uint64(1)] * error, shares[i + np.uint64(2)], shares[i + np.uint64(3)])
    behind[x] = down + back
    return carry, error - (carry + back)


@njit(inline="always")
def _decide(x, buffers, carry):
    """Return whether pixel x is white, its error, the part for the next pixel, and its index in `shares`."""
    gray, index, above, threshold, shares = buffers[:5]
    level = gray[x] + (above[x] + carry)
    white = level > threshold[x]
    error = level - (255.0 if white else 0.0)
    i = np.uint64(4) * np.uint64(index[x])
    return white, error, _quotient(shares[i] * error, shares[i + np.uint64(2)], shares[i + np.uint64(3)]), i


@njit(inline="always")
def _quotient(part, total, reciprocal):
    """Return the correctly rounded part / total for an integer total below 2^20, faster than interleaved divisions.

    The remainder of the estimate is exact, and a quotient by such a small integer is never close enough to the midpoint
    of two doubles for the error of the correction to matter. (Below 1e-290 the last bit may differ, which only matters
    for a threshold of this size.) Source: P. Markstein, Computation of Elementary Functions on the IBM RISC
    System/6000 Processor, IBM J. Res. Dev. 34 (1990).
    """
    estimate = part * reciprocal
    return _fused(_fused(-estimate, total, part), reciprocal, estimate)


@intrinsic
def _fused(typing_context, a, b, c):
    """Fused multiply-add: a * b + c, rounded once."""
    return types.float64(types.float64, types.float64, types.float64), lambda _c, builder, _s, args: builder.fma(*args)


@njit(cache=True)
def _segment_length(width):
    """Length of a segment in pixels, 0 if the row is too short for segments.

    Avoids multiples of 4096 bytes, at which a store in one segment stalls a load in the next (4K aliasing).
    """
    length = width // LANES
    if length < 96:
        return 0
    return length - 5 if (length + 2) % 512 < 5 else length
