"""Transparent photographs: a halftone is made of the photograph on a background."""

import cv2
import numpy as np

WHITE = (255, 255, 255)
BACKGROUND_HELP = "colour behind transparent images, as RRGGBB or a CSS name (default: white)"


def on_background(bgr: np.ndarray, alpha: np.ndarray | None, background: tuple[int, int, int] = WHITE) -> np.ndarray:
    """The photograph uint8 (H, W, 3) on a constant BGR `background`, by `alpha` uint8 (H, W); None: as it is."""
    if alpha is None:
        return bgr
    return _per_band(lambda colour, share: colour * share + np.float32(background) * (1 - share), bgr, alpha)


def off_background(bgr: np.ndarray, alpha: np.ndarray | None, background: tuple[int, int, int] = WHITE) -> np.ndarray:
    """The inverse of `on_background`: with `alpha`, the result looks like `bgr` on this background.

    Colours that no pixel of this transparency can show are clipped. Fully transparent pixels are left as they are.
    """
    if alpha is None:
        return bgr

    def without(colour: np.ndarray, share: np.ndarray) -> np.ndarray:
        share = np.where(share == 0, np.float32(1), share)
        return (colour - np.float32(background) * (1 - share)) / share

    return _per_band(without, bgr, alpha)


def _per_band(function, bgr: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    result = bgr.copy()
    for top in range(0, len(bgr), 256):  # floats of a band at a time, to save memory
        band = slice(top, top + 256)
        if (alpha[band] < 255).any():
            share = cv2.merge([alpha[band].astype(np.float32) / 255] * 3)
            result[band] = np.rint(function(bgr[band].astype(np.float32), share)).clip(0, 255)
    return result
