"""Damage to a halftone in storage and transmission: flipped pixels, crops, turns, conversion to other formats."""

from collections.abc import Iterator

import cv2
import numpy as np

FLIPS = (0.0, 0.01, 0.02, 0.05, 0.10)
CROPS = ((8, 8), (1, 0), (0, 1), (1, 1))
"""Rows and columns removed at the top and the left; odd numbers change the parity of the pixel coordinates."""


def flip_pixels(halftone: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Invert exactly round(share · H · W) pixels of (H, W) {0, 255}, chosen by `seed`, as in the paper's test."""
    damaged = halftone.copy()
    chosen = np.random.default_rng(seed).permutation(halftone.size)[: round(share * halftone.size)]
    damaged.flat[chosen] = 255 - damaged.flat[chosen]
    return damaged


def file_round_trip(halftone: np.ndarray, suffix: str, quality: int | None = None) -> np.ndarray:
    """Encode (H, W) {0, 255} as an 8-bit gray image file, decode it and threshold it at 128."""
    settings = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    data = cv2.imencode(suffix, halftone, settings)[1]
    loaded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return np.where(loaded >= 128, np.uint8(255), np.uint8(0))


def damages(halftone: np.ndarray, photo_bgr: np.ndarray, seed: int = 0) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield (name, damaged halftone, its photo) for flips, crops, mirror, quarter turn, PNG, JPEG 95."""
    for share in FLIPS:
        yield f"flip {share:.0%}", flip_pixels(halftone, share, seed), photo_bgr
    for rows, columns in CROPS:
        yield f"crop {rows},{columns}", halftone[rows:, columns:], photo_bgr[rows:, columns:]
    yield "mirror", halftone[:, ::-1], photo_bgr[:, ::-1]
    yield "quarter turn", np.rot90(halftone), np.rot90(photo_bgr)
    yield "PNG", file_round_trip(halftone, ".png"), photo_bgr
    yield "JPEG 95", file_round_trip(halftone, ".jpg", 95), photo_bgr
