"""Visibility of the residual screen in a restored image, in multiples of the contrast threshold."""

import math

import numpy as np

from descreen.lattice import Frequency, hann_window, lattice, mean_power
from descreen.printing import Printing
from halftone.light import luminance

PIXELS_PER_DEGREE = 300 * 12 * math.pi / 180
"""Viewing condition: 300 dots per inch at 12 inches."""
PEAK_SENSITIVITY = 250.0
"""Inverse contrast threshold at the best visible frequency (Campbell & Robson 1968)."""
PATCH = 128
LOBE, RING = 2.5, (4.0, 7.0)
"""In samples of the spectrum: main-lobe radius of the Hann window, and the ring that measures the background."""


def sensitivity(frequency: float) -> float:
    """Contrast sensitivity at a frequency in cycles per pixel (shape: Mannos & Sakrison 1974, see halftone/eye.py)."""
    f = 0.114 * frequency * PIXELS_PER_DEGREE
    return PEAK_SENSITIVITY * 2.6 * (0.0192 + f) * math.exp(-(f**1.1))


def screen_frequencies(printing: Printing, distance: float = 2 * LOBE / PATCH) -> list[Frequency]:
    """Fundamentals and harmonics of the screens of all inks; empty for FM.

    Frequencies closer than `distance` (cycles per pixel) to an earlier one, as of inks at the same angle, are dropped.
    """
    if printing.is_fm:
        return []
    found: list[Frequency] = []
    for angle in printing.angles[3:] if printing.gray else printing.angles:
        for fx, fy in lattice(printing.pitch, angle, printing.method == "line"):
            fx, fy = (fx, fy) if fx >= 0 else (-fx, -fy)
            if all(min(math.dist((fx, fy), old), math.dist((-fx, -fy), old)) >= distance for old in found):
                found.append((fx, fy))
    return found


def screen_visibility(restored: np.ndarray, truth: np.ndarray, frequencies: list[Frequency]) -> float:
    """Contrast of the pattern at `frequencies` beyond that of the ground truth, in multiples of the threshold.

    Below 1 the pattern is invisible. restored, truth: (H, W, 3) BGR uint8, sides of at least 64 pixels. Luminance is
    divided by the mean of the truth. The amplitude of a frequency is its peak above the background in the Welch
    periodogram; products of amplitude and sensitivity are summed in quadrature.
    """
    mean = luminance(truth).mean() + 1e-3 * 255
    powers = [_power(luminance(image) / mean) for image in (restored, truth)]
    side = powers[0].shape[0]
    y, x = (np.mgrid[:side, :side] + side // 2) % side - side // 2
    total = 0.0
    for fx, fy in frequencies:
        distance = np.hypot(x - fx * side, y - fy * side)
        lobe, ring = distance <= LOBE, (distance > RING[0]) & (distance <= RING[1])
        peaks = (max(0.0, power[lobe].sum() - power[ring].mean() * lobe.sum()) for power in powers)
        residual_power, target_power = peaks
        # A cosine of amplitude a has power a² / 4 at each of its two conjugate frequencies.
        total += sensitivity(math.hypot(fx, fy)) ** 2 * 4 * max(0.0, residual_power - target_power)
    return math.sqrt(total)


def _power(plane: np.ndarray) -> np.ndarray:
    """(S, S) power spectrum whose sum is the mean square of the plane."""
    side = min(PATCH, *plane.shape)
    return mean_power(plane, side, side // 2) / (side**2 * np.square(hann_window(side)).sum())
