"""Noise as a function of seed and pixel only: independent of threads and of the part of an image."""

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def uniform(seed, y, x):
    """Return a float64 in [0, 1) for a pixel: two rounds of the integer mixer lowbias32 (C. Wellons, 2018)."""
    value = np.uint32(seed) ^ (np.uint32(y) * np.uint32(0x9E3779B1)) ^ (np.uint32(x) * np.uint32(0x85EBCA77))
    for _ in range(2):
        value = np.uint32((value ^ (value >> np.uint32(16))) * np.uint32(0x7FEB352D))
        value = np.uint32((value ^ (value >> np.uint32(15))) * np.uint32(0x846CA68B))
    return np.float64(value ^ (value >> np.uint32(16))) / 4294967296.0
