"""From the bytes of a photograph to the light they stand for."""

import numpy as np

from halftone.checks import as_gray


def linear_light(gray: np.ndarray) -> np.ndarray:
    """Return the light of sRGB levels, float64 (H, W) in 0..255: a halftone of it has the photograph's luminance.

    gray: (H, W), uint8 or floating in 0..255. Raises TypeError or ValueError for a wrong dtype, shape or range.
    Source: IEC 61966-2-1.
    """
    value = as_gray(gray) / 255.0
    return 255 * np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
