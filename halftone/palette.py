"""Vector error diffusion: a colour photograph in the colours of a palette."""

import numpy as np
from numba import njit

from halftone.diffusion_kernels import KERNELS


def diffuse_to_palette(
    bgr: np.ndarray, palette: np.ndarray, kernel: str = "floyd_steinberg", *, serpentine: bool = True
) -> np.ndarray:
    """Replace each pixel by the nearest palette colour and diffuse the error vector; uint8 BGR (H, W, 3).

    bgr: (H, W, 3), uint8 or floating in 0..255. palette: (P, 3) BGR in 0..255. kernel: a name in KERNELS.
    Nearest by squared difference; the first one of equals. Levels are clipped to -128..383 first: errors of colours
    outside the palette's gamut would accumulate without bound. float32.
    Raises ValueError for a wrong dtype, shape or range, KeyError for an unknown kernel.
    Source: scalar error diffusion extended to vectors, as in H. Haneishi et al., Color digital halftoning taking
    colorimetric color reproduction into account, J. Electronic Imaging 5(1), 1996.
    """
    if kernel not in KERNELS:
        raise KeyError(f"unknown kernel {kernel!r}, known: {', '.join(KERNELS)}")
    bgr, palette = np.asarray(bgr), np.asarray(palette)
    if palette.ndim != 2 or palette.shape[0] == 0 or palette.shape[1] != 3 or palette.dtype.kind not in "uif":
        raise ValueError(f"a palette has shape (P, 3), numbers, not {palette.shape} {palette.dtype}")
    if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.size == 0 or (bgr.dtype != np.uint8 and bgr.dtype.kind != "f"):
        raise ValueError(f"expected uint8 or floating (H, W, 3), not {bgr.dtype} {bgr.shape}")
    for name, colours in (("bgr", bgr), ("palette", palette)):
        if not (colours.min() >= 0 and colours.max() <= 255):
            raise ValueError(f"{name} must lie in 0..255")
    level = np.ascontiguousarray(bgr, np.float32)
    colours = np.rint(palette).astype(np.uint8)
    return colours[_diffuse(level, colours.astype(np.float32), KERNELS[kernel].weights, serpentine)]


@njit(cache=True, nogil=True)
def _diffuse(bgr, palette, weights, serpentine):
    height, width = bgr.shape[:2]
    rows = weights.shape[0]
    radius = weights.shape[1] // 2
    out = np.empty((height, width), np.int32)
    errors = np.zeros((rows, width + 2 * radius, 3), np.float32)
    level = np.empty(3, np.float32)
    for y in range(height):
        step = -1 if serpentine and y & 1 else 1
        x = 0 if step == 1 else width - 1
        for _ in range(width):
            for c in range(3):
                level[c] = min(max(bgr[y, x, c] + errors[0, x + radius, c], np.float32(-128)), np.float32(383))
            best, smallest = 0, np.float32(np.inf)
            for p in range(len(palette)):
                distance = np.float32(0)
                for c in range(3):
                    distance += (level[c] - palette[p, c]) ** 2
                if distance < smallest:
                    best, smallest = p, distance
            out[y, x] = best
            for j in range(rows):
                for i in range(weights.shape[1]):
                    if weights[j, i] != 0:
                        for c in range(3):
                            share = weights[j, i] * (level[c] - palette[best, c])
                            errors[j, x + radius + step * (i - radius), c] += share
            x += step
        errors[:-1] = errors[1:]
        errors[-1] = 0
    return out
