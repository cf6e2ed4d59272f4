"""AM screening of a restored image, with given pitch and angles or those detected in the scan."""

import numpy as np

from descreen.baselines import DEFAULT_PITCH
from descreen.screen_finder import Screen, common_pitch
from halftone.screens import TRADE_ANGLES, am_cmyk

SUPERSAMPLE = 4


def screen_again(
    picture: np.ndarray,
    screens: dict[str, Screen],
    pitch: float | None = None,
    angles: dict[str, float] | None = None,
    dot: str = "round",
    under_colour_removal: float = 1.0,
) -> np.ndarray:
    """Print (H, W, 3) BGR uint8 with an AM screen in four inks, same shape and dtype.

    pitch   pixels; None: that of the scan's `screens`, or DEFAULT_PITCH without any
    angles  degrees by ink; None: those of `screens`, and TRADE_ANGLES for the other inks
    """
    if pitch is None:
        pitch = max(2.0, common_pitch(screens) or DEFAULT_PITCH)
    if angles is None:
        angles = TRADE_ANGLES | {ink: screen.angle for ink, screen in screens.items()}
    options = {"under_colour_removal": under_colour_removal, "supersample": SUPERSAMPLE}
    return am_cmyk(picture, spot=dot, pitch=pitch, angles=angles, **options)
