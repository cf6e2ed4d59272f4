"""The guided halftone search: of the halftones that look alike, the one that a decoder restores best."""

import numpy as np

from model.error_gradient import error_gradient
from model.fixed_point import FixedPoint
from model.prior import Prior
from utils.tiling import windows

TILE = 1024
"""Side in pixels of the squares that the decoder restores; fixed, so that a halftone does not depend on the memory."""


def guided_halftone(prior: Prior, decoder: FixedPoint, bgr: np.ndarray, rounds: int) -> np.ndarray:
    """Halftone (H, W, 3) BGR uint8 into (H, W) uint8 in {0, 255}, querying `decoder` in so many rounds.

    Every round adds the gradient of the decoder's squared error at the present halftone to the cost of the prior's
    search and searches on; the eye's terms keep the halftone close by, where that linearization holds. The cost has
    the mean gradient of all rounds so far, which keeps later ones from undoing the earlier.
    """
    search = prior.search(bgr)
    weight = prior.guidance_of(rounds)
    mean_gradient = np.zeros(bgr.shape[:2], np.float32)
    for count in range(1, rounds + 1):
        halftone = search.halftone()
        for top in range(0, len(bgr), TILE):
            rows = slice(top, min(top + TILE, len(bgr)))
            change = (gradient_of_rows(prior, decoder, bgr, halftone, rows) - mean_gradient[rows]) / count
            mean_gradient[rows] += change
            search.prefer(rows, weight * change)
        search.sweep(prior.guided_passes)
    return search.halftone()


def gradient_of_rows(
    prior: Prior, decoder: FixedPoint, bgr: np.ndarray, halftone: np.ndarray, rows: slice
) -> np.ndarray:
    """`error_gradient` of the pixels of `rows`, in tiles that see all that matters to them: (rows, W) float32."""
    halo = 2 * (decoder.receptive_radius + prior.receptive_radius)  # forward and back
    gradient = np.empty((rows.stop - rows.start, halftone.shape[1]), np.float32)
    for core, (_, wide) in windows(*gradient.shape, TILE, halo):
        top, bottom = rows.start + core[0].start, rows.start + core[0].stop
        high = slice(max(top - halo, 0) // 2 * 2, bottom + halo)  # even, as the carriers count in pairs
        part = error_gradient(prior, decoder, bgr[high, wide], halftone[high, wide])
        left, right = core[1].start - wide.start, core[1].stop - wide.start
        gradient[core] = part[top - high.start : bottom - high.start, left:right]
    return gradient
