"""Error diffusion: fixed kernels, and Ostromoukhov's coefficients that vary with the level."""

from functools import cache
from pathlib import Path

import numpy as np
from numba import njit

from halftone.checks import as_gray

OSTROMOUKHOV_TABLE = Path(__file__).parent / "data" / "ostromoukhov.csv"


@cache
def ostromoukhov_table() -> np.ndarray:
    """Return float64 (256, 4): right, down-left, down and their sum for each input level."""
    table = np.loadtxt(OSTROMOUKHOV_TABLE, delimiter=",", comments="#")
    table.setflags(write=False)
    return table


KERNELS = {"floyd_steinberg": np.array([[0, 0, 7], [3, 5, 1]]) / 16}


def error_diffusion(
    gray: np.ndarray,
    kernel: str = "floyd_steinberg",
    *,
    serpentine: bool = True,
    threshold: float = 127.5,
    noise: float = 0.0,
    seed: int = 0,
    unbounded: bool = False,
) -> np.ndarray:
    """Diffuse with a fixed kernel; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255; `unbounded` also takes floats that leave it (a composite signal).
    serpentine: odd rows run right to left. threshold: white if level > threshold.
    noise: half width, in gray levels, of uniform noise on the threshold, a function of `seed` and the pixel alone.
    Raises TypeError or ValueError for a wrong dtype, shape or range, KeyError for an unknown kernel.
    """
    if kernel not in KERNELS:
        raise KeyError(f"unknown kernel {kernel!r}, known: {', '.join(KERNELS)}")
    gray = as_gray(gray, bounded=not unbounded)
    thresholds = np.broadcast_to(np.float64(threshold), gray.shape)
    if noise:
        thresholds = thresholds + np.random.RandomState(seed).uniform(-noise, noise, gray.shape)
    return _diffuse(gray, KERNELS[kernel], thresholds, serpentine)


@njit(cache=True)
def _diffuse(gray, kernel, thresholds, serpentine):
    height, width = gray.shape
    reach = kernel.shape[1] // 2
    out = np.empty((height, width), np.uint8)
    rows = np.zeros((kernel.shape[0], width + 2 * reach))
    for y in range(height):
        step = -1 if serpentine and y & 1 else 1
        x = 0 if step == 1 else width - 1
        for _ in range(width):
            level = gray[y, x] + rows[0, x + reach]
            white = level > thresholds[y, x]
            out[y, x] = 255 if white else 0
            error = level - (255.0 if white else 0.0)
            for j in range(kernel.shape[0]):
                for i in range(kernel.shape[1]):
                    rows[j, x + reach + step * (i - reach)] += kernel[j, i] * error
            x += step
        rows[:-1] = rows[1:]
        rows[-1] = 0
    return out


def ostromoukhov(
    gray: np.ndarray, *, table_index: np.ndarray | None = None, threshold: float | np.ndarray = 127.5
) -> np.ndarray:
    """Diffuse with coefficients that depend on the level, serpentine; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating. Floats may leave 0..255 when `table_index` is given (a composite signal).
    table_index: uint8 (H, W), the level that picks the coefficients. Default: gray itself, rounded; only then is an
    input of exactly 0 written black whatever was carried to it.
    threshold: scalar or (H, W); white if level > threshold.
    Double precision, no fused multiply-add: bit for bit the published reference halftones.
    Raises TypeError or ValueError for a wrong dtype, shape or range.
    Source: V. Ostromoukhov, A Simple and Efficient Error-Diffusion Algorithm, SIGGRAPH 2001.
    """
    gray = as_gray(gray, bounded=table_index is None)
    zero_is_black = table_index is None
    if table_index is None:
        table_index = gray if gray.dtype == np.uint8 else np.rint(gray).astype(np.uint8)
    elif table_index.dtype != np.uint8 or table_index.shape != gray.shape:
        raise ValueError(
            f"table_index must be uint8 of shape {gray.shape}, not {table_index.dtype} of shape {table_index.shape}"
        )
    threshold = np.broadcast_to(np.asarray(threshold, np.float64), gray.shape)
    return _ostromoukhov(gray, np.ascontiguousarray(table_index), threshold, ostromoukhov_table(), zero_is_black)


@njit(cache=True, error_model="numpy")
def _ostromoukhov(gray, table_index, threshold, table, zero_is_black):
    height, width = gray.shape
    out = np.empty((height, width), np.uint8)
    row = np.zeros(width + 2)  # errors from the row above, overwritten behind the scan by those for the row below
    for y in range(height):
        step = 1 - 2 * (y & 1)
        x = 0 if step == 1 else width - 1
        right = 0.0
        down = 0.0
        for _ in range(width):
            value = gray[y, x]
            level = value + (row[x + 1] + right)
            white = level > threshold[y, x]
            error = level - (255.0 if white else 0.0)
            out[y, x] = 255 if white and not (zero_is_black and value == 0) else 0
            index = table_index[y, x]
            right = table[index, 0] * error / table[index, 3]
            down_left = table[index, 1] * error / table[index, 3]
            row[x + 1 - step] = down + down_left
            down = error - (right + down_left)
            x += step
        row[x + 1 - step] = down
    return out
