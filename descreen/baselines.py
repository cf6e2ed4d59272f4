"""Descreening filters without learning: baselines for evaluation, and a fallback without a checkpoint.

Images are BGR uint8. `pitch` is the screen pitch in pixels.
"""

from collections.abc import Callable

import cv2
import numpy as np

DEFAULT_PITCH = 4.0
"""Pixels; assumed pitch of a scan without a detected screen."""
MASKS = ("gaussian", "disc", "cross")
PASSBAND, PEAK_RATIO = 0.6, 4.0
"""FFT notch: frequencies below PASSBAND times the screen frequency are kept; amplitudes above PEAK_RATIO times the
local mean (of logarithms) are screen peaks."""


def gaussian(bgr: np.ndarray, pitch: float = DEFAULT_PITCH, strength: float = 1.0) -> np.ndarray:
    """Blur (H, W, 3) with σ = 0.4 · strength · pitch; strength 1 reduces the fundamental to 1/20 of its amplitude."""
    return cv2.GaussianBlur(bgr, (0, 0), 0.4 * strength * pitch, borderType=cv2.BORDER_REFLECT_101)


def bilateral(bgr: np.ndarray, pitch: float = DEFAULT_PITCH, strength: float = 1.0) -> np.ndarray:
    """Gaussian blur with σ = 0.3 · strength · pitch, then a bilateral filter (Tomasi & Manduchi, ICCV 1998).

    Spatial σ 0.6 · strength · pitch, range σ 40 levels.
    """
    smooth = cv2.GaussianBlur(bgr, (0, 0), 0.3 * strength * pitch, borderType=cv2.BORDER_REFLECT_101)
    return cv2.bilateralFilter(smooth, -1, 40, 0.6 * strength * pitch, borderType=cv2.BORDER_REFLECT_101)


def fft_notch(
    bgr: np.ndarray, pitch: float = DEFAULT_PITCH, strength: float = 1.0, mask: str = "gaussian"
) -> np.ndarray:
    """Remove the spectral peaks above the passband from each channel.

    mask  notch shape: "gaussian" (soft), "disc" or "cross" (also removes leakage along the axes); radius
          strength / 60 cycles per pixel. Raises ValueError for another mask.
    """
    if mask not in MASKS:
        raise ValueError(f"unknown mask {mask!r}, known: {', '.join(MASKS)}")
    height, width = bgr.shape[:2]
    margin = min(64, height - 1, width - 1)
    padded = cv2.copyMakeBorder(bgr, margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
    fy, fx = np.fft.fftfreq(padded.shape[0])[:, None], np.fft.rfftfreq(padded.shape[1])[None]
    stopband = np.hypot(fy, fx) > PASSBAND / pitch
    shape = cv2.MORPH_CROSS if mask == "cross" else cv2.MORPH_ELLIPSE
    rows, columns = (2 * round(strength / 60 * side) + 1 for side in padded.shape[:2])
    kernel = cv2.getStructuringElement(shape, (columns, rows))
    filtered = [_remove_peaks(padded[..., i].astype(np.float32), stopband, kernel, mask) for i in range(3)]
    inside = (slice(margin, margin + height), slice(margin, margin + width))
    return np.clip(np.rint(np.dstack(filtered)[inside]), 0, 255).astype(np.uint8)


def _remove_peaks(channel: np.ndarray, stopband: np.ndarray, kernel: np.ndarray, mask: str) -> np.ndarray:
    spectrum = np.fft.rfft2(channel)
    level = np.log1p(np.abs(spectrum)).astype(np.float32)
    background = cv2.blur(level, (31, 31), borderType=cv2.BORDER_REFLECT)
    peaks = ((level - background > np.log(PEAK_RATIO)) & stopband).astype(np.uint8)
    notch = cv2.dilate(peaks, kernel).astype(np.float32)
    if mask == "gaussian":
        rows, columns = (max(side / 6, 0.3) for side in kernel.shape)
        notch = cv2.GaussianBlur(notch, (0, 0), sigmaX=columns, sigmaY=rows)
    return np.fft.irfft2(spectrum * (1 - notch * stopband), s=channel.shape)


BASELINES: dict[str, Callable[..., np.ndarray]] = {"gaussian": gaussian, "fft_notch": fft_notch, "bilateral": bilateral}
