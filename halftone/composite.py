"""Halftones that carry colour: luma as the local mean, chroma on two carriers at the Nyquist frequencies.

As in analogue colour television, the composite signal is S = Y + a (Cr c1 + Cb c2) with the carriers
c1 = (-1)^(x + y) and c2 = (-1)^y. A halftone of S has the local mean Y, and its product with a carrier has the
local mean a Cr or a Cb: the colours come back by multiplying and blurring.
"""

import numpy as np

from .dbs import Term, _carrier, direct_binary_search, gaussian_filter
from .error_diffusion import ostromoukhov
from .void_and_cluster import stored_mask

CARRIERS = ((1, 1), (1, 0))
"""(row, column) parities of c1, which carries Cr, and of c2, which carries Cb."""


def luma_chroma(bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split (H, W, 3) BGR uint8 into Y, Cr, Cb, each (H, W) float32, nominally in [-1, 1] (ITU-R BT.601 weights)."""
    blue, green, red = (bgr[..., channel].astype(np.float32) / np.float32(127.5) - 1 for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma, 0.713 * (red - luma), 0.564 * (blue - luma)


def composite(luma: np.ndarray, chroma: tuple[np.ndarray, np.ndarray], amplitude: float) -> np.ndarray:
    """Modulate: Y + amplitude (Cr c1 + Cb c2), (H, W) float32; it may leave [-1, 1] where colours are saturated."""
    carried = sum(_carrier(parity, luma.shape) * part for parity, part in zip(CARRIERS, chroma, strict=True))
    return luma + np.float32(amplitude) * carried


def diffuse_composite(bgr: np.ndarray, amplitude: float, modulation: float = 0.2) -> np.ndarray:
    """Halftone the composite of (H, W, 3) BGR uint8 by Ostromoukhov's error diffusion: (H, W) uint8 in {0, 255}.

    The coefficient row is picked by the luma. modulation × 127.5 is half the range over which a blue-noise mask moves
    the threshold, which breaks up regular patterns.
    """
    luma, *chroma = luma_chroma(bgr)
    level = (composite(luma, chroma, amplitude) + 1).astype(np.float64) * 127.5
    row = np.clip(np.rint((luma + 1) * 127.5), 0, 255).astype(np.uint8)
    threshold = 127.5 + modulation * 127.5 * _mask(luma.shape).astype(np.float64)
    return ostromoukhov(level, table_index=row, threshold=threshold)


def threshold_composite(bgr: np.ndarray, amplitude: float) -> np.ndarray:
    """Halftone the composite of (H, W, 3) BGR uint8 by a void-and-cluster threshold: (H, W) uint8 in {0, 255}."""
    luma, *chroma = luma_chroma(bgr)
    white = composite(luma, chroma, amplitude) > _mask(luma.shape)
    return np.where(white, np.uint8(255), np.uint8(0))


def search_composite(
    bgr: np.ndarray,
    amplitude: float,
    luma_sigma: float,
    chroma_sigma: float,
    chroma_weight: float,
    passes: int = 8,
) -> np.ndarray:
    """Halftone (H, W, 3) BGR uint8 by direct binary search for luma and both carried chromas: (H, W) uint8 in {0, 255}.

    The cost is || G(luma_sigma) ∗ (h - Y) ||² + chroma_weight Σ || G(chroma_sigma) ∗ (h c - amplitude C) ||²;
    sigmas in pixels. The search starts from `diffuse_composite`.
    """
    luma, *chroma = luma_chroma(bgr)
    terms = [Term(luma, gaussian_filter(luma_sigma, 5))]
    chroma_filter = gaussian_filter(chroma_sigma, 6)
    for parity, part in zip(CARRIERS, chroma, strict=True):
        terms.append(Term(np.float32(amplitude) * part, chroma_filter, chroma_weight, parity))
    return direct_binary_search(diffuse_composite(bgr, amplitude), terms, passes)


def _mask(shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 blue-noise thresholds in (-1, 1), tiled from the stored mask."""
    ranks = stored_mask()
    levels = ((2 * ranks + 1) / ranks.size - 1).astype(np.float32)
    tiles = [-(-side // size) for side, size in zip(shape, ranks.shape, strict=True)]
    return np.tile(levels, tiles)[: shape[0], : shape[1]]
