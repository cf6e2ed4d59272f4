"""Descreening without learning, to compare with and to use where there is no checkpoint. Pictures are BGR uint8."""

from collections.abc import Callable

import cv2
import numpy as np

DEFAULT_PITCH = 4.0
"""Pixels; what the strength is reckoned from where a scan shows no screen."""
MASKS = ("gaussian", "disc", "cross")
PROTECTED = 0.6
"""Frequencies below this share of the screen's are the picture's."""
PEAK = 4.0
"""How far amplitudes must exceed the median about them to be the screen's."""


def gaussian(bgr: np.ndarray, pitch: float = DEFAULT_PITCH, strength: float = 1.0) -> np.ndarray:
    """Blur (H, W, 3) with σ = 0.4 · strength · pitch: at strength 1 the screen keeps a twentieth of its amplitude."""
    return cv2.GaussianBlur(bgr, (0, 0), 0.4 * strength * pitch, borderType=cv2.BORDER_REFLECT_101)


def bilateral(bgr: np.ndarray, pitch: float = DEFAULT_PITCH, strength: float = 1.0) -> np.ndarray:
    """Blur to take the dots' contrast, then a bilateral filter (Tomasi & Manduchi, ICCV 1998) with that as its guide.

    σ in space 0.6 · strength · pitch, in level 40.
    """
    smooth = cv2.GaussianBlur(bgr, (0, 0), 0.3 * strength * pitch, borderType=cv2.BORDER_REFLECT_101)
    return cv2.bilateralFilter(smooth, -1, 40, 0.6 * strength * pitch, borderType=cv2.BORDER_REFLECT_101)


def fft_notch(
    bgr: np.ndarray, pitch: float = DEFAULT_PITCH, strength: float = 1.0, mask: str = "gaussian"
) -> np.ndarray:
    """Cut the peaks of the spectrum beyond the picture's own frequencies out of each channel.

    mask  the shape of a notch: "gaussian" (soft), "disc" or "cross" (also the leakage along the axes). Its radius is
          strength / 60 cycles per pixel. Raises ValueError for another mask.
    """
    if mask not in MASKS:
        raise ValueError(f"unknown mask {mask!r}, known: {', '.join(MASKS)}")
    height, width = bgr.shape[:2]
    margin = min(64, height - 1, width - 1)
    padded = cv2.copyMakeBorder(bgr, margin, margin, margin, margin, cv2.BORDER_REFLECT_101) if margin else bgr
    fy, fx = np.fft.fftfreq(padded.shape[0])[:, None], np.fft.rfftfreq(padded.shape[1])[None]
    allowed = np.hypot(fy, fx) > PROTECTED / pitch
    kernel = _kernel(mask, strength / 60 * padded.shape[0], strength / 60 * padded.shape[1])
    cleaned = [_without_peaks(padded[..., i].astype(np.float32), allowed, kernel, mask) for i in range(3)]
    inside = (slice(margin, margin + height), slice(margin, margin + width))
    return np.clip(np.rint(np.dstack(cleaned)[inside]), 0, 255).astype(np.uint8)


def _without_peaks(channel: np.ndarray, allowed: np.ndarray, kernel: np.ndarray, mask: str) -> np.ndarray:
    spectrum = np.fft.rfft2(channel)
    level = np.log1p(np.abs(spectrum)).astype(np.float32)
    about = cv2.blur(level, (31, 31), borderType=cv2.BORDER_REFLECT)
    peaks = ((level - about > np.log(PEAK)) & allowed).astype(np.uint8)
    cut = cv2.dilate(peaks, kernel).astype(np.float32)
    if mask == "gaussian":
        rows, columns = (max(side / 6, 0.3) for side in kernel.shape)
        cut = cv2.GaussianBlur(cut, (0, 0), sigmaX=columns, sigmaY=rows)
    return np.fft.irfft2(spectrum * (1 - cut * allowed), s=channel.shape)


def _kernel(mask: str, rows: float, columns: float) -> np.ndarray:
    shape = cv2.MORPH_CROSS if mask == "cross" else cv2.MORPH_ELLIPSE
    return cv2.getStructuringElement(shape, (2 * round(columns) + 1, 2 * round(rows) + 1))


BASELINES: dict[str, Callable[..., np.ndarray]] = {"gaussian": gaussian, "fft_notch": fft_notch, "bilateral": bilateral}
