"""How visible is what a restoration left of the screen: a number that stands by itself, in thresholds of the eye."""

import math

import numpy as np

from descreen.lattice import Frequency, lattice
from descreen.printing import Printing
from halftone.light import luminance

PIXELS_PER_DEGREE = 300 * 12 * math.pi / 180
"""A print of 300 dots per inch, seen from 12 inches."""
PEAK_SENSITIVITY = 250.0
"""A grating of the best visible frequency is seen from a contrast of 1 / 250 on (Campbell & Robson 1968)."""
PATCH = 128
LOBE, NEAR, FAR = 2.5, 4.0, 7.0
"""Samples of the spectrum: how far a peak reaches under a Hann window, and the ring that says what is there anyway."""


def sensitivity(frequency: float) -> float:
    """The contrast sensitivity of the eye at a frequency in cycles per pixel.

    Mannos & Sakrison 1974 (see halftone/eye.py) for the shape, whose peak is 0.98.
    """
    f = 0.114 * frequency * PIXELS_PER_DEGREE
    return PEAK_SENSITIVITY * 2.6 * (0.0192 + f) * math.exp(-(f**1.1))


def screen_frequencies(printing: Printing, apart: float = 2 * LOBE / PATCH) -> list[Frequency]:
    """Cycles per pixel along x and y of every ink's screen, up to the second order; none for FM.

    Those nearer than `apart` to one already there, of an ink on the same angle, are left out.
    """
    if printing.is_fm:
        return []
    found: list[Frequency] = []
    for angle in printing.angles[3:] if printing.gray else printing.angles:
        for fx, fy in lattice(printing.pitch, angle, printing.method == "line"):
            fx, fy = (fx, fy) if fx >= 0 else (-fx, -fy)
            if all(min(math.dist((fx, fy), old), math.dist((-fx, -fy), old)) >= apart for old in found):
                found.append((fx, fy))
    return found


def visible_screen(restored: np.ndarray, truth: np.ndarray, frequencies: list[Frequency]) -> float:
    """How many times the threshold of the eye the pattern at `frequencies` has beyond the truth's own: below 1, unseen.

    The luminance of both, (H, W, 3) BGR uint8 with sides of at least 64, is divided by the truth's mean. The amplitude
    of a frequency is what its peak holds above the ring around it, averaged in power over windows; amplitudes times
    sensitivities add as squares.
    """
    mean = luminance(truth).mean() + 1e-3 * 255
    powers = [_power(luminance(picture) / mean) for picture in (restored, truth)]
    side = powers[0].shape[0]
    y, x = np.mgrid[:side, :side]
    y, x = (y + side // 2) % side - side // 2, (x + side // 2) % side - side // 2
    total = 0.0
    for fx, fy in frequencies:
        distance = np.hypot(x - fx * side, y - fy * side)
        lobe, ring = distance <= LOBE, (distance > NEAR) & (distance <= FAR)
        left, own = (max(0.0, power[lobe].sum() - power[ring].mean() * lobe.sum()) for power in powers)
        # A cosine of amplitude a has a² / 4 at its frequency and as much at the opposite one.
        total += sensitivity(math.hypot(fx, fy)) ** 2 * 4 * max(0.0, left - own)
    return math.sqrt(total)


def _power(plane: np.ndarray) -> np.ndarray:
    """(S, S) mean power spectrum of half-overlapping patches under a Hann window; its sum is their mean square."""
    side = min(PATCH, *plane.shape)
    line = np.hanning(side + 1)[:side]
    window = np.outer(line, line)
    tops, lefts = (range(0, length - side + 1, side // 2) for length in plane.shape)
    patches = np.stack([plane[top : top + side, left : left + side] for top in tops for left in lefts])
    patches = (patches - patches.mean(axis=(1, 2), keepdims=True)) * window
    return (np.abs(np.fft.fft2(patches)) ** 2).mean(axis=0) / (side**2 * np.square(window).sum())
