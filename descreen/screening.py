"""AM screening of a restored image, with given pitch and angles or those detected in the scan."""

import numpy as np

from descreen.baselines import DEFAULT_PITCH
from descreen.screen_finder import Screen, common_pitch
from halftone.screens import STANDARD_ANGLES, am_cmyk

SUPERSAMPLE = 4


def rescreen(
    image: np.ndarray,
    screens: dict[str, Screen],
    pitch: float | None = None,
    angles: dict[str, float] | None = None,
    dot: str = "round",
    under_colour_removal: float = 1.0,
) -> np.ndarray:
    """Print (H, W, 3) BGR uint8 with an AM screen in four inks, same shape and dtype.

    pitch   pixels; None: that of the scan's `screens`, or DEFAULT_PITCH without any
    angles  degrees by ink; None: those of `screens`, and STANDARD_ANGLES for the other inks
    """
    if pitch is None:
        pitch = max(2.0, common_pitch(screens) or DEFAULT_PITCH)
    if angles is None:
        angles = STANDARD_ANGLES | {ink: screen.angle for ink, screen in screens.items()}
    options = {"under_colour_removal": under_colour_removal, "supersample": SUPERSAMPLE}
    return am_cmyk(image, spot=dot, pitch=pitch, angles=angles, **options)
