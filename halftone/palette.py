"""A colour photograph in the colours of a palette: vector error diffusion and ordered dither."""

from collections.abc import Callable

import numpy as np
from numba import njit

from halftone.diffusion_kernels import KERNELS
from halftone.light import LUMINANCE


def diffuse_to_palette(
    bgr: np.ndarray, palette: np.ndarray, kernel: str = "floyd_steinberg", *, serpentine: bool = True
) -> np.ndarray:
    """The colours of `palette_indices`, rounded; uint8 BGR (H, W, 3)."""
    return np.rint(palette).astype(np.uint8)[palette_indices(bgr, palette, kernel, serpentine=serpentine)]


def palette_indices(
    bgr: np.ndarray, palette: np.ndarray, kernel: str = "floyd_steinberg", *, serpentine: bool = True
) -> np.ndarray:
    """Assign each pixel to the nearest palette colour and diffuse the error vector; indices int32 (H, W).

    bgr: (H, W, 3), uint8 or floating in 0..255. palette: (P, 3) BGR in 0..255. kernel: a name in KERNELS.
    Nearest by squared difference; the first one of equals. Levels are clipped to -128..383 first: errors of colours
    outside the palette's gamut would accumulate without bound. float32.
    Raises ValueError for a wrong dtype, shape or range, KeyError for an unknown kernel.
    Source: scalar error diffusion extended to vectors, as in H. Haneishi et al., Color digital halftoning taking
    colorimetric color reproduction into account, J. Electronic Imaging 5(1), 1996.
    """
    if kernel not in KERNELS:
        raise KeyError(f"unknown kernel {kernel!r}, known: {', '.join(KERNELS)}")
    level, colours = _checked(bgr, palette)
    return _diffuse(level, colours, KERNELS[kernel].weights, serpentine)


def palette_pattern(
    bgr: np.ndarray, palette: np.ndarray, threshold: Callable[[np.ndarray], np.ndarray], steps: int = 64
) -> np.ndarray:
    """Ordered dither to a palette by pattern: indices int32 (H, W).

    bgr, palette: as for `palette_indices`. threshold: a method that decides each pixel by itself, gray (H, W) → uint8
    {0, 255}; its halftones of `steps` constant grays give the rank of every pixel. Each pixel has `steps` candidates,
    each the nearest colour to its colour plus the mean error of those before; the pixel takes the one of its rank, in
    the order of luminance.
    Raises ValueError for a wrong dtype, shape or range.
    Source: T. Knoll, Pattern dithering, US patent 6 606 166, 2003 (expired).
    """
    level, colours = _checked(bgr, palette)
    ranks = np.zeros(level.shape[:2], np.int32)
    for step in range(steps):
        gray = np.full(level.shape[:2], 255 * (step + 0.5) / steps)
        ranks += threshold(gray) == 0
    dark_to_light = np.argsort(colours @ LUMINANCE, kind="stable")
    return _pattern(level, colours, steps - np.clip(ranks, 1, steps), dark_to_light, steps)


def _checked(bgr: np.ndarray, palette: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as contiguous float32. Raises ValueError for a wrong dtype, shape or range."""
    bgr, palette = np.asarray(bgr), np.asarray(palette)
    if palette.ndim != 2 or palette.shape[0] == 0 or palette.shape[1] != 3 or palette.dtype.kind not in "uif":
        raise ValueError(f"a palette has shape (P, 3), numbers, not {palette.shape} {palette.dtype}")
    if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.size == 0 or (bgr.dtype != np.uint8 and bgr.dtype.kind != "f"):
        raise ValueError(f"expected uint8 or floating (H, W, 3), not {bgr.dtype} {bgr.shape}")
    for name, colours in (("bgr", bgr), ("palette", palette)):
        if not (colours.min() >= 0 and colours.max() <= 255):
            raise ValueError(f"{name} must lie in 0..255")
    return np.ascontiguousarray(bgr, np.float32), np.ascontiguousarray(palette, np.float32)


@njit(cache=True, nogil=True)
def _nearest(level, palette):
    best, smallest = 0, np.float32(np.inf)
    for p in range(len(palette)):
        distance = np.float32(0)
        for c in range(3):
            distance += (level[c] - palette[p, c]) ** 2
        if distance < smallest:
            best, smallest = p, distance
    return best


@njit(cache=True, nogil=True)
def _pattern(bgr, palette, ranks, dark_to_light, steps):
    out = np.empty(ranks.shape, np.int32)
    level, error = np.empty(3, np.float32), np.empty(3, np.float32)
    counts = np.empty(len(palette), np.int32)
    for y in range(bgr.shape[0]):
        for x in range(bgr.shape[1]):
            error[:] = 0
            counts[:] = 0
            for _ in range(steps):
                for c in range(3):
                    level[c] = min(max(bgr[y, x, c] + error[c], np.float32(-128)), np.float32(383))
                best = _nearest(level, palette)
                counts[best] += 1
                for c in range(3):
                    error[c] = level[c] - palette[best, c]
            left = ranks[y, x]
            for p in dark_to_light:
                if left < counts[p]:
                    out[y, x] = p
                    break
                left -= counts[p]
    return out


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
            best = _nearest(level, palette)
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
