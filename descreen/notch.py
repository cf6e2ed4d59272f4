"""Notch filter for the residual screen in a restored image, at the screen frequencies detected in the scan."""

import math

import cv2
import numpy as np
import scipy.fft

from descreen.lattice import Frequency, lattice
from descreen.screen_finder import Screen, common_pitch
from halftone.inks import INKS
from utils.tiling import windows

WIDTH, STRONG_WIDTH, STRONG_PEAK_RATIO = 0.01, 0.02, 4.0
"""σ of a notch in cycles per pixel, σ of the notch of a strong peak, and the minimum power of a strong peak in
multiples of its background. 0.01: impulse response of 16 pixels, which follows a residual of varying amplitude."""
BACKGROUND = (0.025, 0.05)
"""Inner and outer radius of the background ring of a peak, cycles per pixel."""
DETAIL_SIZE, PRESENCE_SIZE = 15, 11
"""Window sides in pixels: of the local mean that `detail` removes, and of the local regression in `_presence`."""
MIN_POWER, FULL_REMOVAL_COEFFICIENT = 0.05, 0.5
"""`_presence`: power in levels² below which the filtered component is absent, and the regression coefficient
from which it is removed completely."""
TILE, MARGIN = 512, 64
"""Side of the FFT tiles and the overlap on each side, pixels."""
ANGLE_STEP = 15.0
"""Degrees: conventional screen angles of inks differ by multiples of this."""


def notch_screens(restored: np.ndarray, screens: dict[str, Screen]) -> np.ndarray:
    """Remove the frequencies of the scan's `screens` from (H, W, 3) BGR uint8; without screens returns the input.

    When only some inks of a colour print were detected, the others are assumed at multiples of 15° to them.
    """
    if not screens:
        return restored
    frequencies = [f for screen in screens.values() for f in lattice(screen.pitch, screen.angle, screen.is_line)]
    incomplete = screens.keys() not in ({"black"}, set(INKS))
    if incomplete and not any(screen.is_line for screen in screens.values()):
        angle = (screens.get("black") or next(iter(screens.values()))).angle
        frequencies += [f for k in range(6) for f in lattice(common_pitch(screens), angle + ANGLE_STEP * k)]
    out = np.empty_like(restored)
    for core, window in windows(*restored.shape[:2], TILE, MARGIN):
        # Missing context, at the borders of the image, by reflection.
        top, bottom, left, right = (
            MARGIN - abs(getattr(near, end) - getattr(at, end))
            for at, near in zip(core, window, strict=True)
            for end in ("start", "stop")
        )
        padded = cv2.copyMakeBorder(restored[window], top, bottom, left, right, cv2.BORDER_REFLECT)
        out[core] = _notched(padded, frequencies)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    return out


def detail(image: np.ndarray) -> np.ndarray:
    """High-pass: float32 (H, W) or (H, W, C) minus its local mean."""
    return image - cv2.blur(image, (DETAIL_SIZE, DETAIL_SIZE), borderType=cv2.BORDER_REFLECT)


def _notched(bgr: np.ndarray, frequencies: list[Frequency]) -> np.ndarray:
    size = bgr.shape[:2]
    spectrum = scipy.fft.rfft2(bgr.astype(np.float32), axes=(0, 1))
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=2)
    fy, fx = np.fft.fftfreq(size[0]).astype(np.float32), np.fft.rfftfreq(size[1]).astype(np.float32)
    gain = np.ones(spectrum.shape[:2], np.float32)
    for x, y in frequencies:
        width = STRONG_WIDTH if _is_strong(power, size, x, y) else WIDTH
        for sign in (1, -1):
            along, down = (np.exp(-0.5 * ((f - sign * at) / width) ** 2) for f, at in ((fx, x), (fy, y)))
            gain *= 1 - np.outer(down, along)
    removed = scipy.fft.irfft2(spectrum * (1 - gain)[..., None], s=size, axes=(0, 1))
    return np.clip(np.rint(bgr - removed * _presence(bgr, removed)), 0, 255).astype(np.uint8)


def _presence(bgr: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Local weight 0..1 of the component to remove, by least-squares regression of the image's detail on it.

    Suppresses ringing: a notch spreads part of an edge into the flat area beside it, where the image has no such wave.
    """
    cross, power = (
        cv2.blur(product, (PRESENCE_SIZE, PRESENCE_SIZE), borderType=cv2.BORDER_REFLECT)
        for product in (detail(bgr.astype(np.float32)) * removed, removed * removed)
    )
    return np.clip(cross / (power + MIN_POWER) / FULL_REMOVAL_COEFFICIENT, 0, 1)


def _is_strong(power: np.ndarray, size: tuple[int, int], x: float, y: float) -> bool:
    """Whether the power spectrum (H, W / 2 + 1) of an image of `size` has a strong peak at frequency (x, y)."""
    x, y = (x, y) if x >= 0 else (-x, -y)
    height, width = size
    inner, outer = BACKGROUND
    rows = np.arange(math.floor((y - outer) * height), math.ceil((y + outer) * height) + 1)
    columns = np.arange(max(math.floor((x - outer) * width), 0), min(math.ceil((x + outer) * width), width // 2) + 1)
    distance = np.hypot(rows[:, None] / height - y, columns / width - x)
    near = power[np.ix_(rows % height, columns)]
    peak, background = near[distance <= WIDTH], near[(distance > inner) & (distance <= outer)]
    return bool(peak.mean() > STRONG_PEAK_RATIO * background.mean())
