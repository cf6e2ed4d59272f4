"""Composite signal of luma and chroma: luma at baseband, chroma on two carriers at the Nyquist frequencies.

As in analogue colour television, S = Y + m_r c1 + m_b c2, with the carriers c1 = (-1)^(x + y) and c2 = (-1)^y and the
modulating signals m_r, m_b of Cr and Cb (`modulation`). The local mean of a halftone of S is Y, and the local mean of
its product with a carrier is that carrier's m: synchronous demodulation (model.prior.Prior.demodulate) recovers colour.
"""

import numpy as np

from halftone.dbs import Search, Term, carrier_wave, gaussian_filter
from halftone.variable_diffusion import ostromoukhov_bands
from halftone.void_and_cluster import stored_mask
from model.pilot import pilot_wave
from utils.colour import BT601_BGR, CB_SCALE, CR_SCALE

CARRIERS = ((1, 1), (1, 0))
"""(row, column) parities of c1, the carrier of Cr, and of c2, the carrier of Cb."""

BAND_ROWS = 256  # rows per band; a multiple of the periods of carriers, pilot and mask
MIN_HEADROOM = 0.02
"""Lower bound of 1 - |Y|, which avoids a division by zero at black and white."""


def luma_chroma(bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split (H, W, 3) BGR uint8 into Y, Cr, Cb, each (H, W) float32, nominally in [-1, 1] (ITU-R BT.601)."""
    blue, green, red = (bgr[..., channel].astype(np.float32) / np.float32(127.5) - 1 for channel in range(3))
    blue_weight, green_weight, red_weight = BT601_BGR
    luma = red_weight * red + green_weight * green + blue_weight * blue
    return luma, CR_SCALE * (red - luma), CB_SCALE * (blue - luma)


def modulation(bgr: np.ndarray, amplitude: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """Luma Y and modulating signals [m_r, m_b] of (H, W, 3) BGR uint8, each (H, W) float32.

    A halftone of local mean Y carries at most r = 1 - |Y| on a carrier. Both chromas are multiplied by the gain
    amplitude · tanh(z) / z with z = amplitude · max(|Cr|, |Cb|) / r, so |m| < r; the common gain preserves the hue.
    """
    luma, *chroma = luma_chroma(bgr)
    largest = np.float32(amplitude) * np.maximum(*map(np.abs, chroma))
    drive = np.maximum(largest / np.maximum(1 - np.abs(luma), MIN_HEADROOM), np.float32(1e-6))
    gain = np.float32(amplitude) * np.tanh(drive) / drive
    return luma, [gain * part for part in chroma]


def composite(luma: np.ndarray, modulating: list[np.ndarray]) -> np.ndarray:
    """S = Y + m_r c1 + m_b c2, (H, W) float32; not clipped to [-1, 1]."""
    signals = zip(CARRIERS, modulating, strict=True)
    return luma + sum(carrier_wave(parity, luma.shape) * signal for parity, signal in signals)


def diffuse_composite(
    bgr: np.ndarray, amplitude: float, threshold_noise: float = 0.2, pilot: float = 0.0
) -> np.ndarray:
    """Halftone the composite of (H, W, 3) BGR uint8 by Ostromoukhov's error diffusion: (H, W) uint8 in {0, 255}.

    The luma selects the row of diffusion coefficients.
    threshold_noise  amplitude of the blue-noise threshold modulation, in multiples of 127.5; breaks up regular patterns
    pilot            amplitude of `pilot_wave`, which is added to the composite
    """
    halftone = np.empty(bgr.shape[:2], np.uint8)
    bands = [slice(top, top + BAND_ROWS) for top in range(0, len(bgr), BAND_ROWS)]
    levels = (_diffusion_inputs(bgr[band], amplitude, threshold_noise, pilot) for band in bands)
    for band, dots in zip(bands, ostromoukhov_bands(levels), strict=True):
        halftone[band] = dots
    return halftone


def _diffusion_inputs(
    bgr: np.ndarray, amplitude: float, threshold_noise: float, pilot: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arguments of `ostromoukhov_bands` for one band: composite, luma (uint8) and threshold, each (H, W) in 0..255."""
    luma, modulating = modulation(bgr, amplitude)
    signal = composite(luma, modulating)
    if pilot:
        signal += np.float32(pilot) * pilot_wave(luma.shape)
    level = (signal + 1).astype(np.float64) * 127.5
    threshold = 127.5 + threshold_noise * 127.5 * _threshold_mask(luma.shape).astype(np.float64)
    return level, np.clip(np.rint((luma + 1) * 127.5), 0, 255).astype(np.uint8), threshold


def composite_search(
    bgr: np.ndarray, amplitude: float, luma_sigma: float, chroma_sigma: float, chroma_weight: float, pilot: float = 0.0
) -> Search:
    """Direct binary search of a halftone h in {-1, 1} for (H, W, 3) BGR uint8, initialized by `diffuse_composite`.

    Cost: || G(luma_sigma) ∗ (h - Y) ||² + chroma_weight Σ_k || G(chroma_sigma) ∗ (h c_k - m_k) ||² - pilot Σ h w, with
    Y and m_k from `modulation`, w the `pilot_wave` and sigmas in pixels.
    """
    # Truncation bounds the cost of a toggle; the chroma filter of sigma 5 is then nearly a box of 13 pixels.
    luma_filter, chroma_filter = gaussian_filter(luma_sigma, 5), gaussian_filter(chroma_sigma, 6)

    def terms(rows: slice) -> list[Term]:
        luma, modulating = modulation(bgr[rows], amplitude)
        chroma = zip(CARRIERS, modulating, strict=True)
        return [
            Term(luma, luma_filter),
            *(Term(signal, chroma_filter, chroma_weight, parity) for parity, signal in chroma),
        ]

    search = Search(diffuse_composite(bgr, amplitude), terms)
    if pilot:
        for top in range(0, len(bgr), BAND_ROWS):
            rows = slice(top, min(top + BAND_ROWS, len(bgr)))
            search.add_linear_term(rows, -pilot * pilot_wave(bgr[rows].shape[:2], top))
    return search


def _threshold_mask(shape: tuple[int, int]) -> np.ndarray:
    """(H, W) float32 blue-noise thresholds in (-1, 1): the stored mask, repeated periodically."""
    ranks = stored_mask()
    levels = ((2 * ranks + 1) / ranks.size - 1).astype(np.float32)
    repeats = [-(-side // size) for side, size in zip(shape, ranks.shape, strict=True)]
    return np.tile(levels, repeats)[: shape[0], : shape[1]]
