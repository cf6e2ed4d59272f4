"""Dithering along a space-filling curve with exponentially weighted past errors."""

import numpy as np
from numba import njit

from halftone.checks import as_gray


def riemersma(gray: np.ndarray, *, memory: int = 16, ratio: float = 16.0) -> np.ndarray:
    """Process pixels along a Hilbert curve and add the last errors; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. memory: number of errors. ratio: weight of the newest over the oldest.
    White if gray + Σ weight · error >= 128. The weight is 1 for the newest error and decays exponentially; an error is
    gray - output. Older errors are discarded, so tones near black and white clip (below 18.5 with the defaults). The
    curve fills the smallest enclosing square whose side is a power of two; positions outside the image are skipped.
    Raises TypeError or ValueError for a wrong dtype, shape or range.
    Source: T. Riemersma, A balanced dithering technique, C/C++ Users Journal, December 1998.
    """
    if memory < 1:
        raise ValueError(f"memory must be at least 1, not {memory}")
    if not ratio >= 1:
        raise ValueError(f"ratio must be at least 1, not {ratio}")
    weights = ratio ** (-np.arange(memory) / max(memory - 1, 1))
    return _follow_curve(as_gray(gray), weights)


@njit(cache=True, nogil=True)
def _follow_curve(gray, weights):
    height, width = gray.shape
    memory = len(weights)
    out = np.empty((height, width), np.uint8)
    errors = np.zeros(2 * memory)  # ring buffer stored twice, so that the past errors are contiguous
    newest = 0
    size = 1
    while size < max(height, width):
        size *= 2
    # Stack of squares: top, left, side and orientation of the curve. Bit 0: transposed, bit 1: rotated by 180°.
    squares = np.empty((4 * 64, 4), np.int64)
    squares[0] = 0, 0, size, 0
    count = 1
    while count > 0:
        count -= 1
        top, left, side, orientation = squares[count]
        if top >= height or left >= width:
            continue
        if side > 1:
            half = side // 2
            for part in range(3, -1, -1):  # pushed in reverse order of processing
                row, column = part in (1, 2), part in (2, 3)
                if orientation & 1:
                    row, column = column, row
                if orientation & 2:
                    row, column = not row, not column
                change = 1 if part == 0 else (3 if part == 3 else 0)
                squares[count] = top + half * row, left + half * column, half, orientation ^ change
                count += 1
            continue
        level = np.float64(gray[top, left])
        for i in range(memory):
            level += weights[i] * errors[newest + i]
        output = 255.0 if level >= 128 else 0.0
        out[top, left] = np.uint8(output)
        newest = (newest - 1) % memory
        errors[newest] = errors[newest + memory] = gray[top, left] - output
    return out
