"""A new screen for a restored scan: of a pitch and angles of your choice, or the scan's own."""

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
    """Print (H, W, 3) BGR uint8 in screened inks.

    pitch   pixels; None takes that of the scan's `screens`, or 4 where it had none
    angles  degrees by ink; None takes those found in the scan, for the other inks those of the trade
    """
    if pitch is None:
        pitch = max(2.0, common_pitch(screens) or DEFAULT_PITCH)
    if angles is None:
        angles = {**TRADE_ANGLES, **{ink: screen.angle for ink, screen in screens.items()}}
    return am_cmyk(
        picture,
        spot=dot,
        pitch=pitch,
        angles=angles,
        under_colour_removal=under_colour_removal,
        supersample=SUPERSAMPLE,
    )
