"""Halftones that carry colour: luma as the local mean, chroma on two carriers at the Nyquist frequencies.

As in analogue colour television, the composite signal is S = Y + a (Cr c1 + Cb c2) with the carriers
c1 = (-1)^(x + y) and c2 = (-1)^y. A halftone of S has the local mean Y, and its product with a carrier has the
local mean a Cr or a Cb: the colours come back by multiplying and blurring. `modulation` compresses a Cr and a Cb where
a halftone of that luma cannot carry them.
"""

import numpy as np

from halftone.dbs import Search, Term, carrier_wave, gaussian_filter
from halftone.variable_diffusion import ostromoukhov_bands
from halftone.void_and_cluster import stored_mask
from model.pilot import pilot_wave

CARRIERS = ((1, 1), (1, 0))
"""(row, column) parities of c1, which carries Cr, and of c2, which carries Cb."""

BAND_ROWS = 256  # prepared at a time; a multiple of the carriers', the pilot's and the mask's periods
LEAST_HEADROOM = 0.02
"""What black and white are taken to leave for the carriers, so that nothing is divided by zero."""


def luma_chroma(bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split (H, W, 3) BGR uint8 into Y, Cr, Cb, each (H, W) float32, nominally in [-1, 1] (ITU-R BT.601 weights)."""
    blue, green, red = (bgr[..., channel].astype(np.float32) / np.float32(127.5) - 1 for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma, 0.713 * (red - luma), 0.564 * (blue - luma)


def modulation(bgr: np.ndarray, amplitude: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Split (H, W, 3) BGR uint8 into luma Y and what the carriers are multiplied with, each (H, W) float32.

    A halftone of local mean Y can carry at most r = 1 - |Y| on either carrier. So both chromas are multiplied by
    amplitude · tanh(z) / z, z = amplitude · max(|Cr|, |Cb|) / r, which keeps the hue of dark and light saturated
    colours.
    """
    luma, *chroma = luma_chroma(bgr)
    largest = np.float32(amplitude) * np.maximum(*map(np.abs, chroma))
    drive = np.maximum(largest / np.maximum(1 - np.abs(luma), LEAST_HEADROOM), np.float32(1e-6))
    gain = np.float32(amplitude) * np.tanh(drive) / drive
    return luma, [gain * part for part in chroma]


def composite(luma: np.ndarray, carried: list[np.ndarray]) -> np.ndarray:
    """Luma plus both carriers times what they carry, (H, W) float32; it may leave [-1, 1]."""
    return luma + sum(carrier_wave(parity, luma.shape) * part for parity, part in zip(CARRIERS, carried, strict=True))


def diffuse_composite(
    bgr: np.ndarray, amplitude: float, threshold_noise: float = 0.2, pilot: float = 0.0
) -> np.ndarray:
    """Halftone the composite of (H, W, 3) BGR uint8 by Ostromoukhov's error diffusion: (H, W) uint8 in {0, 255}.

    The coefficient row is picked by the luma. threshold_noise × 127.5 is half the range over which a blue-noise mask
    moves the threshold, which breaks up regular patterns. pilot × `pilot_wave` is added to the composite.
    """
    halftone = np.empty(bgr.shape[:2], np.uint8)
    bands = [slice(top, top + BAND_ROWS) for top in range(0, len(bgr), BAND_ROWS)]
    levels = (_levels(bgr[band], amplitude, threshold_noise, pilot) for band in bands)
    for band, dots in zip(bands, ostromoukhov_bands(levels), strict=True):
        halftone[band] = dots
    return halftone


def _levels(
    bgr: np.ndarray, amplitude: float, threshold_noise: float, pilot: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What `ostromoukhov_bands` takes of rows of a photograph: composite, luma and threshold, in 0..255."""
    luma, carried = modulation(bgr, amplitude)
    signal = composite(luma, carried)
    if pilot:
        signal += np.float32(pilot) * pilot_wave(luma.shape)
    level = (signal + 1).astype(np.float64) * 127.5
    threshold = 127.5 + threshold_noise * 127.5 * _mask(luma.shape).astype(np.float64)
    return level, np.clip(np.rint((luma + 1) * 127.5), 0, 255).astype(np.uint8), threshold


def threshold_composite(bgr: np.ndarray, amplitude: float) -> np.ndarray:
    """Halftone the composite of (H, W, 3) BGR uint8 by a void-and-cluster threshold: (H, W) uint8 in {0, 255}."""
    luma, carried = modulation(bgr, amplitude)
    white = composite(luma, carried) > _mask(luma.shape)
    return np.where(white, np.uint8(255), np.uint8(0))


def composite_search(
    bgr: np.ndarray,
    amplitude: float,
    luma_sigma: float,
    chroma_sigma: float,
    chroma_weight: float,
    pilot: float = 0.0,
) -> Search:
    """A direct binary search for luma and both carried chromas of (H, W, 3) BGR uint8, from `diffuse_composite` on.

    The cost is || G(luma_sigma) ∗ (h - Y) ||² + chroma_weight Σ || G(chroma_sigma) ∗ (h c - m) ||², m as `modulation`
    gives it, sigmas in pixels, minus pilot Σ h w, w the `pilot_wave`.
    """
    # Cut off, which bounds the time of the search; a chroma filter of sigma 5 is then nearly a box of 13 pixels.
    luma_filter, chroma_filter = gaussian_filter(luma_sigma, 5), gaussian_filter(chroma_sigma, 6)

    def terms(rows: slice) -> list[Term]:
        luma, carried = modulation(bgr[rows], amplitude)
        chroma = zip(CARRIERS, carried, strict=True)
        return [Term(luma, luma_filter), *(Term(part, chroma_filter, chroma_weight, parity) for parity, part in chroma)]

    search = Search(diffuse_composite(bgr, amplitude), terms)
    if pilot:
        for top in range(0, len(bgr), BAND_ROWS):
            rows = slice(top, min(top + BAND_ROWS, len(bgr)))
            search.prefer(rows, -pilot * pilot_wave(bgr[rows].shape[:2], top))
    return search


def _mask(shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 blue-noise thresholds in (-1, 1), tiled from the stored mask."""
    ranks = stored_mask()
    levels = ((2 * ranks + 1) / ranks.size - 1).astype(np.float32)
    tiles = [-(-side // size) for side, size in zip(shape, ranks.shape, strict=True)]
    return np.tile(levels, tiles)[: shape[0], : shape[1]]
