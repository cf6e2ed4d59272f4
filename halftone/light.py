"""Conversion of sRGB levels to linear light."""

import numpy as np

from halftone.checks import as_gray

LUMINANCE = np.array([0.0722, 0.7152, 0.2126])
"""Weights of linear blue, green and red (ITU-R BT.709, sRGB)."""


def linear_light(gray: np.ndarray) -> np.ndarray:
    """Return the linear light of one channel of sRGB levels, float64 (H, W) in 0..255.

    gray: (H, W), uint8 or floating in 0..255. Raises TypeError or ValueError for a wrong dtype, shape or range.
    Source: IEC 61966-2-1.
    """
    value = as_gray(gray) / 255.0
    return 255 * np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(bgr: np.ndarray) -> np.ndarray:
    """Return the luminance of an sRGB photograph in linear light, float64 (H, W) in 0..255.

    bgr: uint8 (H, W, 3). Source: IEC 61966-2-1.
    """
    return linear_light(np.arange(256, dtype=np.uint8)[None])[0][bgr] @ LUMINANCE
