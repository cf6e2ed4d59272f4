"""Ordered dither: comparison of the image with a tiled matrix of ranks."""

from functools import lru_cache

import numpy as np
from numba import njit

from halftone.checks import as_gray
from halftone.noise import uniform
from halftone.void_and_cluster import stored_mask, void_and_cluster

# Dots and holes alternate on a checkerboard of 4 x 4 cells: a screen at 45°, in use in many programs.
CLUSTERED_45 = np.array(
    [
        [24, 10, 12, 26, 35, 47, 49, 37],
        [8, 0, 2, 14, 45, 59, 61, 51],
        [22, 6, 4, 16, 43, 57, 63, 53],
        [30, 20, 18, 28, 33, 41, 55, 39],
        [34, 46, 48, 36, 25, 11, 13, 27],
        [44, 58, 60, 50, 9, 1, 3, 15],
        [42, 56, 62, 52, 23, 7, 5, 17],
        [32, 40, 54, 38, 31, 21, 19, 29],
    ]
)
CLUSTERED_45.setflags(write=False)


def ordered(gray: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Compare with a matrix of ranks, tiled from the top left; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. ranks: (h, w) integers >= 0; the lowest turns white first.
    White if gray > 255 (rank + 1/2) / (highest rank + 1). Raises TypeError or ValueError for a wrong dtype, shape or
    range.
    """
    gray = as_gray(gray)
    ranks = np.asarray(ranks)
    if ranks.ndim != 2 or ranks.size == 0 or ranks.dtype.kind not in "iu" or ranks.min() < 0:
        raise ValueError("ranks must be a two-dimensional array of integers >= 0")
    thresholds = 255 * (ranks + 0.5) / (int(ranks.max()) + 1)
    if gray.dtype == np.uint8:
        thresholds = thresholds.astype(np.uint8)  # for integers, gray > t is the same as gray > floor(t)
    width = gray.shape[1]
    return _compare(gray, np.ascontiguousarray(np.tile(thresholds, -(-width // ranks.shape[1]))[:, :width]))


def bayer(gray: np.ndarray, *, size: int = 8) -> np.ndarray:
    """Ordered dither with `bayer_matrix(size)`; uint8 {0, 255} (H, W). gray: (H, W), uint8 or floating in 0..255."""
    return ordered(gray, bayer_matrix(size))


def clustered_45(gray: np.ndarray) -> np.ndarray:
    """Ordered dither with the 8 x 8 clustered-dot screen at 45°; uint8 {0, 255} (H, W). gray: (H, W) in 0..255."""
    return ordered(gray, CLUSTERED_45)


def clustered_spiral(gray: np.ndarray, *, size: int = 5) -> np.ndarray:
    """Ordered dither with `spiral_matrix(size)`; uint8 {0, 255} (H, W). gray: (H, W), uint8 or floating in 0..255."""
    return ordered(gray, spiral_matrix(size))


def clustered_diamond(gray: np.ndarray, *, size: int = 8) -> np.ndarray:
    """Ordered dither with `diamond_matrix(size)`; uint8 {0, 255} (H, W). gray: (H, W), uint8 or floating in 0..255."""
    return ordered(gray, diamond_matrix(size))


def blue_noise(gray: np.ndarray, *, size: int = 64, seed: int = 0) -> np.ndarray:
    """Ordered dither with a void-and-cluster mask of `size`; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. Size 64 with seed 0 is stored, others are generated on first use, which
    takes seconds at 256.
    Source: R. Ulichney, The void-and-cluster method for dither array generation, SPIE 1913, 1993.
    """
    return ordered(gray, stored_mask() if (size, seed) == (64, 0) else _mask(size, seed))


def white_noise(gray: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Compare every pixel with an independent uniform random number; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. The noise is a function of `seed` and the pixel's position.
    Source: L. Roberts, Picture coding using pseudo-random noise, IRE Trans. Information Theory 8, 1962.
    """
    return _compare_with_noise(as_gray(gray), seed & 0xFFFFFFFF)


def bayer_matrix(size: int) -> np.ndarray:
    """Return ranks (size, size); size is a power of two, at least 2.

    Source: B. Bayer, An optimum method for two-level rendition of continuous-tone pictures, IEEE ICC, 1973.
    """
    if size < 2 or size & (size - 1):
        raise ValueError(f"the size of a Bayer matrix must be 2, 4, 8, 16, ..., not {size}")
    ranks = np.zeros((1, 1), np.int32)
    while len(ranks) < size:
        ranks = np.block([[4 * ranks, 4 * ranks + 2], [4 * ranks + 3, 4 * ranks + 1]])
    return ranks


def spiral_matrix(size: int) -> np.ndarray:
    """Return ranks (size, size) along a spiral outwards from the centre."""
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    ranks = np.empty((size, size), np.int32)
    y = x = (size - 1) // 2
    turns = [(0, 1), (1, 0), (0, -1), (-1, 0)]
    rank, leg = 0, 0
    while rank < size * size:
        for _ in range(leg // 2 + 1):  # legs of 1, 1, 2, 2, 3, 3 ... steps; positions outside the matrix are skipped
            if 0 <= y < size and 0 <= x < size:
                ranks[y, x] = rank
                rank += 1
            y, x = y + turns[leg % 4][0], x + turns[leg % 4][1]
        leg += 1
    return ranks


def diamond_matrix(size: int) -> np.ndarray:
    """Return ranks (size, size) ordered by the distance |x| + |y| from the centre, then by angle."""
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    offset = np.arange(size) - (size - 1) / 2
    y, x = offset[:, None], offset[None, :]
    order = np.lexsort(((np.arctan2(y, x) % (np.pi / 2)).ravel(), (np.abs(y) + np.abs(x)).ravel()))
    ranks = np.empty(size * size, np.int32)
    ranks[order] = np.arange(size * size)
    return ranks.reshape(size, size)


@lru_cache(maxsize=8)
def _mask(size: int, seed: int) -> np.ndarray:
    mask = void_and_cluster(size, seed)
    mask.setflags(write=False)
    return mask


@njit(cache=True, nogil=True)
def _compare(gray, thresholds):
    height, width = gray.shape
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        source, target, row = gray[y], out[y], thresholds[y % len(thresholds)]
        for x in range(width):
            target[x] = 255 if source[x] > row[x] else 0
    return out


@njit(cache=True, nogil=True)
def _compare_with_noise(gray, seed):
    height, width = gray.shape
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            out[y, x] = 255 if gray[y, x] > 255 * uniform(seed, y, x) else 0
    return out
