"""Error diffusion with a fixed kernel."""

import numpy as np
from numba import njit

from halftone.checks import as_gray
from halftone.diffusion_kernels import KERNELS
from halftone.noise import uniform


def error_diffusion(
    gray: np.ndarray,
    kernel: str = "floyd_steinberg",
    *,
    serpentine: bool = True,
    threshold: float = 127.5,
    noise: float = 0.0,
    seed: int = 0,
) -> np.ndarray:
    """Diffuse the error of each pixel to unprocessed neighbours; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255.
    kernel: a name in KERNELS, which holds the sources. serpentine: odd rows run right to left.
    threshold: white if level > threshold. noise: half width, in gray levels, of uniform noise on the threshold.
    Errors beyond a border are discarded. float32; the order of summation is the rows above from top to bottom, each in
    scan order, then the second and the first previous pixel of the row.
    Raises TypeError or ValueError for a wrong dtype, shape or range, KeyError for an unknown kernel.
    """
    if kernel not in KERNELS:
        raise KeyError(f"unknown kernel {kernel!r}, known: {', '.join(KERNELS)}")
    gray = as_gray(gray)
    return _diffuse(gray, KERNELS[kernel].weights, np.float32(threshold), serpentine, noise, seed & 0xFFFFFFFF)


@njit(cache=True, nogil=True)
def _diffuse(gray, weights, threshold, serpentine, noise, seed):
    height, width = gray.shape
    rows = weights.shape[0]
    radius = weights.shape[1] // 2
    near = weights[0, radius + 1]
    far = weights[0, radius + 2] if radius > 1 else np.float32(0)
    out = np.empty((height, width), np.uint8)
    errors = np.zeros((rows, width + 2 * radius), np.float32)  # ring buffer of rows
    level = np.empty(width, np.float32)
    thresholds = np.full(width, threshold, np.float32)
    for y in range(height):
        # Errors from the rows above are independent of each other and vectorize; only errors within the row are serial.
        for x in range(width):
            level[x] = gray[y, x]
        for up in range(min(rows - 1, y), 0, -1):
            above = errors[(y - up) % rows]
            step = -1 if serpentine and (y - up) & 1 else 1
            for i in range(weights.shape[1]):
                share = weights[up, i]
                if share != 0:
                    start = radius - step * (i - radius)
                    part = above[start : start + width]
                    for x in range(width):
                        level[x] += share * part[x]
        if noise != 0:
            for x in range(width):
                thresholds[x] = threshold + np.float32(noise * (2 * uniform(seed, y, x) - 1))
        first, stop, step = (width - 1, -1, -1) if serpentine and y & 1 else (0, width, 1)
        if far == 0:
            _chain_of_one(level, thresholds, near, first, stop, step)
        else:
            _chain_of_two(level, thresholds, near, far, first, stop, step)
        current = errors[y % rows][radius : radius + width]
        for x in range(width):
            white = level[x] > thresholds[x]
            out[y, x] = 255 if white else 0
            current[x] = level[x] - (np.float32(255) if white else np.float32(0))
    return out


# Both chains compute share · (level − output) as share · level − share · output: the threshold decision and the product
# then run in parallel, which shortens the dependency chain by a third.


@njit(cache=True, nogil=True)
def _chain_of_one(level, thresholds, near, first, stop, step):
    zero = np.float32(0)
    output = near * np.float32(255)
    value = zero
    white = False
    for x in range(first, stop, step):
        value = (level[x] + near * value) - (output if white else zero)
        level[x] = value
        white = value > thresholds[x]


@njit(cache=True, nogil=True)
def _chain_of_two(level, thresholds, near, far, first, stop, step):
    zero = np.float32(0)
    output, far_output = near * np.float32(255), far * np.float32(255)
    value = zero
    white = False
    from_far = zero
    for x in range(first, stop, step):
        latest = ((level[x] + from_far) + near * value) - (output if white else zero)
        from_far = far * value - (far_output if white else zero)
        value = latest
        level[x] = value
        white = value > thresholds[x]
