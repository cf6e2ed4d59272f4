"""The guided halftone search: among halftones of equal appearance, it finds one that a decoder restores well."""

from collections.abc import Sequence

import numpy as np

from model.error_gradient import error_gradient
from model.fixed_point import FixedPoint
from model.prior import Prior
from utils.tiling import windows

TILE = 1024
"""Side in pixels of the decoder's tiles; fixed, so that a halftone does not depend on the available memory."""
KEPT = 6
"""Rounds that the gradients so far count as when another decoder takes over, at most; chosen on training photographs as
CURVATURE and the weight of the guidance for many rounds were (docs/experiments.md)."""
CURVATURE = 0.25
"""Share of the demodulated luma's curvature in the cost of searches of more rounds than trained."""


def guided_halftone(prior: Prior, queries: Sequence[tuple[FixedPoint, int]], bgr: np.ndarray) -> np.ndarray:
    """Halftone (H, W, 3) BGR uint8 into (H, W) uint8 in {0, 255}, with one gradient of a decoder in each round.

    queries  the decoders, one after another, and the number of rounds that query each; cheap ones first

    Cost of the prior's search plus weight · Σ g h, g the mean over the rounds so far of the gradient of the decoder's
    squared error with respect to the halftone h. The linearization holds near the current halftone, where the terms of
    the visual model keep the search; the mean prevents a round from undoing the earlier ones. When another decoder
    takes over, the gradients so far count as at most KEPT rounds.

    With more rounds than the prior was trained with, the error's curvature enters the cost too: CURVATURE of the
    demodulated luma's, 3 || G ∗ (h - m) ||² in three channels, m the mean of the halftones so far. It allows for more
    weight.
    """
    search = prior.search(bgr)
    rounds = sum(number for _, number in queries)
    weight = prior.guidance_weight(rounds)
    mean_gradient = np.zeros(bgr.shape[:2], np.float32)
    mean_halftone = None
    if rounds > prior.guided_rounds and CURVATURE:
        taps = prior.demodulator_taps()[0].astype(np.float64)
        search.anchor(np.outer(taps, taps), 3 * CURVATURE * weight)
        mean_halftone = _signed(search.halftone())
    count = 0
    for decoder, number in queries:
        count = min(count, KEPT)
        for _ in range(number):
            count += 1
            halftone = search.halftone()
            for top in range(0, len(bgr), TILE):
                rows = slice(top, min(top + TILE, len(bgr)))
                change = (gradient_of_rows(prior, decoder, bgr, halftone, rows) - mean_gradient[rows]) / count
                mean_gradient[rows] += change
                search.add_linear_term(rows, weight * change)
                if mean_halftone is not None:
                    change = (_signed(halftone[rows]) - mean_halftone[rows]) / np.float32(count)
                    mean_halftone[rows] += change
                    search.move_anchor(rows, change)
            search.run(prior.guided_passes)
    return search.halftone()


def _signed(halftone: np.ndarray) -> np.ndarray:
    return np.where(halftone > 127, np.float32(1), np.float32(-1))


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
