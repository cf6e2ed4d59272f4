"""Spatial frequencies of a halftone screen, and the power spectrum in which they are measured."""

import math

import numpy as np

DOT_ORDERS = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2))
LINE_ORDERS = ((1,), (2,))
"""Harmonics up to the second order, as integer multiples of the fundamentals."""

Frequency = tuple[float, float]
"""(fx, fy) in cycles per pixel along x and y."""


def fundamentals(pitch: float, angle: float, is_line: bool = False) -> list[Frequency]:
    """Fundamental frequencies: the u and v axes of `am_screen` for dots, v alone for lines.

    pitch in pixels, angle in degrees counter-clockwise.
    """
    x, y = math.cos(math.radians(angle)) / pitch, math.sin(math.radians(angle)) / pitch
    return [(y, x)] if is_line else [(x, -y), (y, x)]


def lattice(pitch: float, angle: float, is_line: bool = False) -> list[Frequency]:
    """Fundamentals and second-order harmonics below the Nyquist frequency; arguments as for `fundamentals`.

    A fundamental above it, of a pitch below 2 pixels, is at the frequency at which the scan shows it (aliasing).
    """
    first = np.array(fundamentals(pitch, angle, is_line))
    harmonics = np.array(LINE_ORDERS if is_line else DOT_ORDERS) @ first
    inside = np.abs(harmonics).max(axis=1) < 0.5
    harmonics[: len(first)] = (first + 0.5) % 1 - 0.5
    inside[: len(first)] = True
    return [(fx, fy) for fx, fy in harmonics[inside].tolist()]


def mean_power(
    plane: np.ndarray, side: int, step: int, max_patches: int | None = None, dtype: np.dtype = np.float64
) -> np.ndarray:
    """Welch periodogram: mean |FFT|² of overlapping mean-free patches under a Hann window; float64 (side, side).

    plane  (H, W) with sides of at least `side`
    step   distance of the patches, pixels
    max_patches  use at most this many, evenly spread
    dtype  precision of the transforms
    """
    tops, lefts = (range(0, length - side + 1, step) for length in plane.shape)
    corners = [(top, left) for top in tops for left in lefts]
    if max_patches is not None:
        corners = [corners[i] for i in np.unique(np.linspace(0, len(corners) - 1, max_patches).astype(int))]
    window, power = hann_window(side, dtype), np.zeros((side, side))
    for top, left in corners:
        patch = plane[top : top + side, left : left + side].astype(dtype)
        power += np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
    return power / len(corners)


def hann_window(side: int, dtype: np.dtype = np.float64) -> np.ndarray:
    """Periodic Hann window (side, side)."""
    line = np.hanning(side + 1)[:side].astype(dtype)
    return np.outer(line, line)
