"""Colour separation into CMYK inks, and simulated printing of the inks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

INKS = ("cyan", "magenta", "yellow", "black")


def separate(bgr: np.ndarray, under_colour_removal: float = 1.0) -> np.ndarray:
    """Separate BGR uint8 (H, W, 3) into ink coverages: uint8 (H, W, 4), cyan, magenta, yellow, black, 255 is full ink.

    Black replaces a share `under_colour_removal` (0..1) of the three inks' common part: K = removal (255 - max(BGR)).
    An ink is 255 (255 - channel - K) / (255 - K), so that `combine` inverts the separation, except for rounding.
    Raises ValueError for another dtype, shape or range.
    """
    _check(bgr, 3)
    if not 0 <= under_colour_removal <= 1:
        raise ValueError(f"under_colour_removal must lie in 0..1, not {under_colour_removal}")
    absent = 255.0 - bgr[..., ::-1]
    black = np.rint(under_colour_removal * absent.min(axis=2, keepdims=True))
    rest = np.maximum(absent - black, 0) * 255 / np.maximum(255 - black, 1)
    return np.concatenate([np.minimum(np.rint(rest), 255), black], axis=2).astype(np.uint8)


def combine(inks: np.ndarray) -> np.ndarray:
    """Overprint coverages uint8 (H, W, 4), whose transmittances multiply: BGR uint8 (H, W, 3)."""
    _check(inks, 4)
    transmittance = 1 - inks / 255.0
    return np.rint(255 * transmittance[..., 2::-1] * transmittance[..., 3:]).astype(np.uint8)


def per_channel(bgr: np.ndarray, halftone: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Halftone blue, green and red independently, in parallel; uint8 (H, W, 3).

    bgr: uint8 or floating in 0..255 (H, W, 3). Raises ValueError for another shape, and the errors of `halftone`.
    """
    if bgr.ndim != 3 or bgr.shape[2] != 3:
        raise ValueError(f"a colour image has shape (H, W, 3), not {bgr.shape}")
    with ThreadPoolExecutor() as pool:
        return np.dstack(list(pool.map(halftone, (np.ascontiguousarray(bgr[..., i]) for i in range(3)))))


def per_ink(
    bgr: np.ndarray, halftone: Callable[[np.ndarray, str], np.ndarray], *, under_colour_removal: float = 1.0
) -> np.ndarray:
    """Halftone the four inks and overprint them: BGR uint8 (H, W, 3) of the eight colours of solid inks.

    bgr: uint8 (H, W, 3). halftone: function of an ink as gray (255 is no ink) and its name in INKS.
    Raises ValueError as `separate` does, and the errors of `halftone`.
    """
    inks = separate(bgr, under_colour_removal)
    plates = [np.ascontiguousarray(255 - inks[..., i]) for i in range(4)]
    with ThreadPoolExecutor() as pool:
        return combine(255 - np.dstack(list(pool.map(halftone, plates, INKS))))


def _check(image: np.ndarray, channels: int) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
        raise ValueError(f"expected uint8 (H, W, {channels}), not {image.dtype} {image.shape}")
