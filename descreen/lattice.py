"""Where in the spectrum of a scan a halftone screen lies."""

import math

import numpy as np

DOT_ORDERS = ((1, 0), (0, 1), (1, 1), (1, -1), (2, 0), (0, 2))
LINE_ORDERS = ((1,), (2,))
"""Multiples of the fundamental waves, up to the second order."""

Frequency = tuple[float, float]


def fundamentals(pitch: float, angle: float, is_line: bool = False) -> list[Frequency]:
    """Cycles per pixel along x and y of the waves of a screen: two of dots, am_screen's u and v, one of lines, v."""
    x, y = math.cos(math.radians(angle)) / pitch, math.sin(math.radians(angle)) / pitch
    return [(y, x)] if is_line else [(x, -y), (y, x)]


def lattice(pitch: float, angle: float, is_line: bool = False) -> list[Frequency]:
    """Cycles per pixel along x and y of a screen up to the second order, those that pixels can hold."""
    waves = np.array(fundamentals(pitch, angle, is_line))
    found = (np.array(LINE_ORDERS if is_line else DOT_ORDERS) @ waves).tolist()
    return [(fx, fy) for fx, fy in found if max(abs(fx), abs(fy)) < 0.5]
