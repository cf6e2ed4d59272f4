"""AM screening of a restored image, with given pitch and angles or those detected in the scan."""

import numpy as np

from descreen.baselines import DEFAULT_PITCH
from descreen.engine import apply_to_regions
from descreen.regions import Region
from descreen.screen_finder import Screen, common_pitch
from halftone.screens import STANDARD_ANGLES, am_cmyk

SUPERSAMPLE = 4


def rescreen(
    image: np.ndarray,
    regions: list[Region],
    pitch: float | None = None,
    angles: dict[str, float] | None = None,
    dot: str = "round",
    under_colour_removal: float = 1.0,
) -> np.ndarray:
    """Print the screened regions of (H, W, 3) BGR uint8 with an AM screen in four inks, same shape and dtype.

    regions  of the scan; without any, the whole image is screened
    pitch    pixels; None: that of each region, or DEFAULT_PITCH
    angles   degrees by ink; None: those of each region, and STANDARD_ANGLES for the other inks
    """
    options = {"pitch": pitch, "angles": angles, "dot": dot, "under_colour_removal": under_colour_removal}
    if not regions:
        return screen(image, {}, **options)
    return apply_to_regions(lambda part, region: screen(part, region.screens, **options), image, regions)


def screen(
    image: np.ndarray,
    screens: dict[str, Screen],
    pitch: float | None = None,
    angles: dict[str, float] | None = None,
    dot: str = "round",
    under_colour_removal: float = 1.0,
) -> np.ndarray:
    """`rescreen` for an image that is screened everywhere, with its former `screens` by ink."""
    if pitch is None:
        pitch = max(2.0, common_pitch(screens) or DEFAULT_PITCH)
    if angles is None:
        angles = STANDARD_ANGLES | {ink: each.angle for ink, each in screens.items()}
    options = {"under_colour_removal": under_colour_removal, "supersample": SUPERSAMPLE}
    return am_cmyk(image, spot=dot, pitch=pitch, angles=angles, **options)
