"""Dithering along a space-filling curve, with a memory that fades."""

import numpy as np
from numba import njit

from halftone.checks import as_gray


def riemersma(gray: np.ndarray, *, memory: int = 16, ratio: float = 16.0) -> np.ndarray:
    """Visit pixels along a Hilbert curve, with the errors of the last few; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. memory: errors remembered. ratio: weight of the newest over the oldest.
    White if gray + Σ weight · error >= 128, weight 1 for the newest and falling exponentially, an error being a pixel's
    gray less its output. What is forgotten is lost, so tones near black and white clip (below 18.5 with the defaults).
    The curve fills the smallest square of a power of two around the image; what lies outside is stepped over.
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
    errors = np.zeros(2 * memory)  # a ring written twice, so that the last few lie side by side
    newest = 0
    size = 1
    while size < max(height, width):
        size *= 2
    # Squares still to visit: top, left, side and how the curve is turned in them. Bit 0: transposed, bit 1: by 180°.
    squares = np.empty((4 * 64, 4), np.int64)
    squares[0] = 0, 0, size, 0
    waiting = 1
    while waiting > 0:
        waiting -= 1
        top, left, side, turn = squares[waiting]
        if top >= height or left >= width:
            continue
        if side > 1:
            half = side // 2
            for part in range(3, -1, -1):  # the last pushed is the first visited
                row, column = part in (1, 2), part in (2, 3)
                if turn & 1:
                    row, column = column, row
                if turn & 2:
                    row, column = not row, not column
                bend = 1 if part == 0 else (3 if part == 3 else 0)
                squares[waiting] = top + half * row, left + half * column, half, turn ^ bend
                waiting += 1
            continue
        level = np.float64(gray[top, left])
        for i in range(memory):
            level += weights[i] * errors[newest + i]
        output = 255.0 if level >= 128 else 0.0
        out[top, left] = np.uint8(output)
        newest = (newest - 1) % memory
        errors[newest] = errors[newest + memory] = gray[top, left] - output
    return out
