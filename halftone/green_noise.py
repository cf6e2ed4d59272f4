"""Green noise: error diffusion with output-dependent feedback, which clusters dots."""

import numpy as np
from numba import njit

from halftone.checks import as_gray
from halftone.diffusion_kernels import KERNELS
from halftone.noise import uniform


def green_noise(
    gray: np.ndarray,
    *,
    hysteresis: float = 0.6,
    kernel: str = "floyd_steinberg",
    serpentine: bool = True,
    noise: float = 20.0,
    seed: int = 0,
) -> np.ndarray:
    """Diffuse errors with output-dependent feedback; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. hysteresis: 0 is plain error diffusion, larger values give larger
    clusters; must be below 1, so that black stays black. kernel: a name in KERNELS. noise: half width, in gray levels,
    of uniform noise on the threshold, which breaks regular patterns.
    White if level + 255 hysteresis (m - 1/2) > 127.5, m the mean of the previous and the upper output in 0..1 (1/2
    outside the image). The error is level - output, without the feedback, so the mean tone is kept. float32.
    Raises TypeError or ValueError for a wrong dtype, shape or range, KeyError for an unknown kernel.
    Source: R. Levien, Output dependent feedback in error diffusion halftoning, IS&T 46th Annual Conference, 1993.
    """
    if kernel not in KERNELS:
        raise KeyError(f"unknown kernel {kernel!r}, known: {', '.join(KERNELS)}")
    if not 0 <= hysteresis < 1:
        raise ValueError(f"hysteresis must lie in 0..1, below 1, not {hysteresis}")
    gray = as_gray(gray)
    return _diffuse(gray, KERNELS[kernel].weights, np.float32(255 * hysteresis), serpentine, noise, seed & 0xFFFFFFFF)


@njit(cache=True, nogil=True)
def _diffuse(gray, weights, feedback, serpentine, noise, seed):
    height, width = gray.shape
    rows = weights.shape[0]
    radius = weights.shape[1] // 2
    out = np.empty((height, width), np.uint8)
    errors = np.zeros((rows, width + 2 * radius), np.float32)
    half = np.float32(0.5)
    above = np.full(width, half, np.float32)
    for y in range(height):
        step = -1 if serpentine and y & 1 else 1
        x = 0 if step == 1 else width - 1
        previous = half
        for _ in range(width):
            level = np.float32(gray[y, x]) + errors[0, x + radius]
            shift = feedback * (half * (previous + above[x]) - half)
            threshold = np.float32(127.5) + np.float32(noise * (2 * uniform(seed, y, x) - 1))
            white = level + shift > threshold
            previous = np.float32(1) if white else np.float32(0)
            above[x] = previous
            out[y, x] = 255 if white else 0
            error = level - np.float32(255) * previous
            for j in range(rows):
                for i in range(weights.shape[1]):
                    if weights[j, i] != 0:
                        errors[j, x + radius + step * (i - radius)] += weights[j, i] * error
            x += step
        errors[:-1] = errors[1:]
        errors[-1] = 0
    return out
