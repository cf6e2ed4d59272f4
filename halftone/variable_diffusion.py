"""Error diffusion whose coefficients vary with the input level: Ostromoukhov, Zhou-Fang."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numba import njit

from halftone.checks import as_gray
from halftone.noise import uniform

DATA = Path(__file__).parent / "data"

LANES = 8  # stretches of a row that advance together
WARM_UP = 72  # pixels a stretch starts early, so that it has nearly always forgotten its start when it counts


def ostromoukhov(
    gray: np.ndarray, *, table_index: np.ndarray | None = None, threshold: float | np.ndarray = 127.5
) -> np.ndarray:
    """Diffuse with coefficients that depend on the level, serpentine; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating. Floats may leave 0..255 when `table_index` is given (a composite signal).
    table_index: uint8 (H, W), the level that picks the coefficients. Default: gray itself, rounded; only then is an
    input of exactly 0 written black whatever was carried to it.
    threshold: scalar or (H, W); white if level > threshold.
    Errors beyond a border are lost. Double precision, multiply before divide, no fused multiply-add: bit for bit the
    halftones of the author's program.
    Raises TypeError or ValueError for a wrong dtype, shape or range.
    Source: V. Ostromoukhov, A Simple and Efficient Error-Diffusion Algorithm, SIGGRAPH 2001.
    """
    gray = as_gray(gray, bounded=table_index is None)
    return next(_ostromoukhov_bands([(gray, table_index, threshold)]))


def ostromoukhov_bands(
    bands: Iterable[tuple[np.ndarray, np.ndarray, float | np.ndarray]],
) -> Iterator[np.ndarray]:
    """`ostromoukhov` on an image that comes from top to bottom in bands of rows, and goes the same way.

    bands: gray floating (h, W), table_index uint8 (h, W) and threshold, scalar or (h, W), of each. The halftones, uint8
    {0, 255} (h, W), together are that of the whole image; only one row of errors is kept between them.
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
            above = np.zeros(gray.shape[1])
        planes = gray, np.ascontiguousarray(table_index), np.ascontiguousarray(thresholds)
        yield _diffuse(*planes, _NO_MODULATION, 0, *ostromoukhov_table(), zero_is_black, above, top)
        top += len(gray)


def zhou_fang(gray: np.ndarray, *, modulation: float = 1.0, seed: int = 0) -> np.ndarray:
    """Diffuse with coefficients and a noisy threshold that depend on the level, serpentine; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. modulation: factor on the published strength of the threshold noise.
    White if level > 127 where the strength m is 0, elsewhere if level > 128 + m r / 100 rounded down, r uniform in
    0..127. Coefficients and strengths: data/zhou_fang.csv, from the authors' released program, which has key levels at
    40 and 80 and other values at 2 and 102 than the paper's table as usually transcribed. Double precision, where that
    program diffuses integers, and noise from `seed` and the pixel.
    Raises TypeError or ValueError for a wrong dtype, shape or range.
    Source: B. Zhou, X. Fang, Improving Mid-tone Quality of Variable-coefficient Error Diffusion Using Threshold
    Modulation, SIGGRAPH 2003.
    """
    gray = as_gray(gray)
    table, strength = zhou_fang_table()
    thresholds = np.full((1, 1), 127.0)
    noise = _frozen(modulation * strength)[0], seed & 0xFFFFFFFF
    return _diffuse(gray, _rounded(gray), thresholds, *noise, *table, False, np.zeros(gray.shape[1]), 0)


_NO_MODULATION = np.zeros(256)
_NO_MODULATION.setflags(write=False)


@cache
def ostromoukhov_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float64 (256,) three times: right, down-left and their sum with down, for each input level."""
    right, down_left, _, total = np.loadtxt(DATA / "ostromoukhov.csv", delimiter=",", unpack=True)
    return _frozen(right, down_left, total)


@cache
def zhou_fang_table() -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return the shares as `ostromoukhov_table` does (their sum is 1) and the modulation in percent, float64 (256,)."""
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


@njit(cache=True, nogil=True, error_model="numpy")
def _diffuse(gray, index, thresholds, modulation, seed, right, down_left, total, zero_is_black, above, top):
    """Rows `top` and below; `above` (W,) is what the row above passed down, and afterwards what the last one does."""
    height, width = gray.shape
    out = np.empty((height, width), np.uint8)
    level = np.empty(width)
    passed = np.empty(width)  # what each pixel passes to its neighbour
    side = np.zeros(width + 2)  # what each pixel passes down and back, padded
    threshold = np.empty(width)
    stretch = _stretch(width)
    noisy = modulation.any()
    for y in range(height):
        step = -1 if (top + y) & 1 else 1
        source, line, row = gray[y], out[y], index[y]
        if y < len(thresholds):
            threshold[:] = thresholds[y]
        if noisy:
            for x in range(width):
                strength = modulation[row[x]]
                if strength > 0:
                    threshold[x] = 128 + np.floor(np.floor(128 * uniform(seed, top + y, x)) * strength / 100)
                else:
                    threshold[x] = 127
        _scan(source, row, above, threshold, right, total, level, passed, step, stretch)
        back = side[1 : 1 + width]
        for x in range(width):
            white = level[x] > threshold[x]
            line[x] = 255 if white else 0
            error = level[x] - (255.0 if white else 0.0)
            back[x] = down_left[row[x]] * error / total[row[x]]
            above[x] = error - (passed[x] + back[x])
        if zero_is_black:
            for x in range(width):
                line[x] = 0 if source[x] == 0 else line[x]
        behind = side[1 + step : 1 + step + width]
        for x in range(width):
            above[x] += behind[x]
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _scan(gray, index, above, threshold, right, total, level, passed, step, stretch):
    """Fill `level` and `passed` in scanning order, as if pixel by pixel, but with several stretches of the row at once.

    The chain of divisions from neighbour to neighbour is what takes the time, and one chain leaves the processor idle.
    A wrong start is soon forgotten: each step keeps less than three quarters of it, and rounding swallows the rest. So
    every stretch but the first starts early, from nothing. Afterwards each is entered again with the true value, until
    that meets what the stretch computed: from there on the two are the same, to the bit. Whatever LANES and WARM_UP
    are.
    """
    first = 0 if step == 1 else len(gray) - 1
    if stretch > 0:
        carried = np.zeros(LANES)
        for i in range(-WARM_UP, 0):
            for lane in range(1, LANES):
                x = np.uint64(first + step * (lane * stretch + i))
                value = gray[x] + (above[x] + carried[lane])
                carried[lane] = _pass_on(value, threshold[x], right[index[x]], total[index[x]])
        for i in range(stretch):
            for lane in range(LANES):
                x = np.uint64(first + step * (lane * stretch + i))
                value = gray[x] + (above[x] + carried[lane])
                carry = _pass_on(value, threshold[x], right[index[x]], total[index[x]])
                carried[lane] = carry
                level[x] = value
                passed[x] = carry
    rest = first + step * LANES * stretch
    for lane in range(1, LANES + 1):
        x = first + step * lane * stretch
        stop = rest if lane < LANES else first + step * len(gray)
        carry = passed[x - step] if x != first else 0.0
        while x != stop:
            value = gray[x] + (above[x] + carry)
            if lane < LANES and value == level[x]:
                break
            carry = _pass_on(value, threshold[x], right[index[x]], total[index[x]])
            level[x] = value
            passed[x] = carry
            x += step


@njit(inline="always")
def _pass_on(value, threshold, right, total):
    return right * (value - 255.0 * (value > threshold)) / total


@njit(cache=True)
def _stretch(width):
    """Length of a lane's stretch, 0 where the row is too short for lanes.

    Not a multiple of 4096 bytes: a processor takes a store in one lane for one to the address that the next is to load.
    """
    stretch = width // LANES
    if stretch < 96:
        return 0
    return stretch - 5 if (stretch + 2) % 512 < 5 else stretch
