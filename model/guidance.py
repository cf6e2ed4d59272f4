"""The guided halftone search: among halftones of equal appearance, it finds one that a decoder restores well."""

import numpy as np

from model.error_gradient import error_gradient
from model.fixed_point import FixedPoint
from model.prior import Prior
from utils.tiling import windows

TILE = 1024
"""Side in pixels of the decoder's tiles; fixed, so that a halftone does not depend on the available memory."""


def guided_halftone(prior: Prior, decoder: FixedPoint, bgr: np.ndarray, rounds: int) -> np.ndarray:
    """Halftone (H, W, 3) BGR uint8 into (H, W) uint8 in {0, 255}, with one gradient of `decoder` in each round.

    Cost of the prior's search plus weight · Σ g h, g the mean over the rounds so far of the gradient of the decoder's
    squared error with respect to the halftone h. The linearization holds near the current halftone, where the terms of
    the visual model keep the search; the mean prevents a round from undoing the earlier ones.
    """
    search = prior.search(bgr)
    weight = prior.guidance_weight(rounds)
    mean_gradient = np.zeros(bgr.shape[:2], np.float32)
    for count in range(1, rounds + 1):
        halftone = search.halftone()
        for top in range(0, len(bgr), TILE):
            rows = slice(top, min(top + TILE, len(bgr)))
            change = (gradient_of_rows(prior, decoder, bgr, halftone, rows) - mean_gradient[rows]) / count
            mean_gradient[rows] += change
            search.add_linear_term(rows, weight * change)
        search.run(prior.guided_passes)
    return search.halftone()


def gradient_of_rows(
    prior: Prior, decoder: FixedPoint, bgr: np.ndarray, halftone: np.ndarray, rows: slice
) -> np.ndarray:
    """`error_gradient` of `rows`, in tiles with the context of the whole receptive field: (rows, W) float32."""
    halo = 2 * (decoder.receptive_radius + prior.receptive_radius)  # forward and backward pass
    gradient = np.empty((rows.stop - rows.start, halftone.shape[1]), np.float32)
    for core, (_, wide) in windows(*gradient.shape, TILE, halo):
        top, bottom = rows.start + core[0].start, rows.start + core[0].stop
        high = slice(max(top - halo, 0) // 2 * 2, bottom + halo)  # even: the carriers have period 2
        part = error_gradient(prior, decoder, bgr[high, wide], halftone[high, wide])
        left, right = core[1].start - wide.start, core[1].stop - wide.start
        gradient[core] = part[top - high.start : bottom - high.start, left:right]
    return gradient
