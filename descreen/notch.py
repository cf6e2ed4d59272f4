"""Take what a network has left of a screen out of its restoration: narrow notches where the scan's own screens lie."""

import math

import cv2
import numpy as np
import scipy.fft

from descreen.lattice import Frequency, lattice
from descreen.screen_finder import Screen, common_pitch
from halftone.inks import INKS

WIDTH = 0.01
"""σ of a notch, cycles per pixel: as a filter it reaches 16 pixels, so a screen that changes its strength is met."""
STRONG = 4.0
"""Where the restoration's power is so many times that around, the trace is a strong one."""
STRONG_WIDTH = 0.02
"""WIDTH of the notch for a strong trace."""
AROUND = (0.025, 0.05)
"""Cycles per pixel: from where to where a peak's surroundings reach."""
LOCAL = 15
"""Side in pixels of the square whose mean is no detail."""
NEARBY = 11
"""Side in pixels of the square over which a trace is compared with what is to be cut."""
NEGLIGIBLE = 0.05
"""Levels²: what is to be cut with less power than this does not count."""
WHOLE = 0.5
"""From which share on that is there a trace is cut as a whole."""
TILE = 512
"""Side in pixels of the squares that are transformed at a time."""
MARGIN = 64
"""Pixels around a tile that are transformed with it."""
APART = 15.0
"""Degrees: presses turn inks by multiples of this against one another."""


def without_screens(restored: np.ndarray, screens: dict[str, Screen]) -> np.ndarray:
    """Restoration (H, W, 3) BGR uint8 without the frequencies of the scan's `screens`; as it is where there are none.

    Of a print in several inks those that were not found are taken to lie at multiples of 15° from those that were.
    """
    if not screens:
        return restored
    frequencies = [f for screen in screens.values() for f in lattice(screen.pitch, screen.angle, screen.is_line)]
    missing = screens.keys() not in ({"black"}, set(INKS))
    if missing and not any(screen.is_line for screen in screens.values()):
        angle = (screens.get("black") or next(iter(screens.values()))).angle
        frequencies += [f for k in range(6) for f in lattice(common_pitch(screens), angle + APART * k)]
    height, width = restored.shape[:2]
    out = np.empty_like(restored)
    padded = cv2.copyMakeBorder(restored, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REFLECT)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            window = padded[top : top + TILE + 2 * MARGIN, left : left + TILE + 2 * MARGIN]
            core = _notched(window, frequencies)[MARGIN:-MARGIN, MARGIN:-MARGIN]
            out[top : top + TILE, left : left + TILE] = core
    return out


def detail(picture: np.ndarray) -> np.ndarray:
    """What float32 (H, W) or (H, W, C) has beside its mean over the square of LOCAL about each pixel."""
    return picture - cv2.blur(picture, (LOCAL, LOCAL), borderType=cv2.BORDER_REFLECT)


def _notched(bgr: np.ndarray, frequencies: list[Frequency]) -> np.ndarray:
    size = bgr.shape[:2]
    spectrum = scipy.fft.rfft2(bgr.astype(np.float32), axes=(0, 1))
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=2)
    fy, fx = np.fft.fftfreq(size[0]).astype(np.float32), np.fft.rfftfreq(size[1]).astype(np.float32)
    kept = np.ones(spectrum.shape[:2], np.float32)
    for x, y in frequencies:
        width = STRONG_WIDTH if _stands_out(power, size, x, y) else WIDTH
        for sign in (1, -1):
            along, down = (np.exp(-0.5 * ((f - sign * at) / width) ** 2) for f, at in ((fx, x), (fy, y)))
            kept *= 1 - np.outer(down, along)
    cut = scipy.fft.irfft2(spectrum * (1 - kept)[..., None], s=size, axes=(0, 1))
    return np.clip(np.rint(bgr - cut * _presence(bgr, cut)), 0, 255).astype(np.uint8)


def _presence(bgr: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """How much of what is to be cut is there, 0..1, by least squares about each pixel.

    Beside an edge a notch alone would leave ripples: what it takes from the edge, it takes from the flat side as well.
    """
    both, own = (
        cv2.blur(product, (NEARBY, NEARBY), borderType=cv2.BORDER_REFLECT)
        for product in (detail(bgr.astype(np.float32)) * cut, cut * cut)
    )
    return np.clip(both / (own + NEGLIGIBLE) / WHOLE, 0, 1)


def _stands_out(power: np.ndarray, size: tuple[int, int], x: float, y: float) -> bool:
    """Whether the power spectrum, (H, W / 2 + 1), of a picture of `size` has a peak at a frequency."""
    x, y = (x, y) if x >= 0 else (-x, -y)
    height, width = size
    reach = AROUND[1]
    rows = np.arange(math.floor((y - reach) * height), math.ceil((y + reach) * height) + 1)
    columns = np.arange(max(math.floor((x - reach) * width), 0), min(math.ceil((x + reach) * width), width // 2) + 1)
    distance = np.hypot(rows[:, None] / height - y, columns / width - x)
    near = power[np.ix_(rows % height, columns)]
    peak, around = near[distance <= WIDTH], near[(distance > AROUND[0]) & (distance <= reach)]
    return bool(peak.mean() > STRONG * around.mean())
