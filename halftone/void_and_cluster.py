"""Blue-noise threshold masks: R. Ulichney, The void-and-cluster method for dither array generation, SPIE 1913, 1993."""

from functools import cache
from pathlib import Path

import numpy as np
from numba import njit

STORED_MASK = Path(__file__).parent / "data" / "void_and_cluster_64.npy"


def void_and_cluster(size: int, seed: int = 0, sigma: float = 1.5) -> np.ndarray:
    """Return a blue-noise mask: int32 (size, size), every rank 0..size²-1 once, toroidal.

    Pixel on at level k of size² if rank < k. `sigma` in pixels is the standard deviation of the Gaussian that
    finds voids and clusters. Deterministic on any machine: all energies are integers. Source: Ulichney 1993, section 3.
    Raises ValueError for size < 1 or sigma <= 0.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, not {size}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, not {sigma}")
    random = np.random.RandomState(seed)
    initial = np.zeros((size, size), np.bool_)
    initial.flat[random.permutation(size * size)[: max(1, size * size // 10)]] = True
    ties = random.randint(0, 1 << 12, (size, size))
    return _ranks(initial, ties, _wrapped_gaussian(size, sigma))


@cache
def stored_mask() -> np.ndarray:
    """Return the shipped mask, int32 (64, 64), read-only: `void_and_cluster(64, seed=0, sigma=1.5)`."""
    mask = np.load(STORED_MASK, allow_pickle=False).astype(np.int32)
    mask.setflags(write=False)
    return mask


def _wrapped_gaussian(size: int, sigma: float) -> np.ndarray:
    """int64 (size, size): periodic Gaussian centred on [0, 0]; its peak is 2^40 where its tails do not overlap."""
    offsets = np.arange(-3 * size, 3 * size + 1)
    line = np.zeros(size)
    np.add.at(line, offsets % size, np.exp(-(offsets**2) / (2 * sigma**2)))
    return np.rint(np.outer(line, line) * 2.0**40).astype(np.int64)


@njit(cache=True)
def _ranks(initial, ties, kernel):
    size = initial.shape[0]
    radius = 0
    for i in range(size // 2 + 1):
        if kernel[0, i] > 0:
            radius = i
    span = min(2 * radius + 1, size)
    on = initial.copy()
    energy = ties.astype(np.int64)
    # Per row, the column of the tightest cluster (on pixel of highest energy) and of the largest void (off pixel of
    # lowest energy). A toggle rescans only the rows it changed, so a mask of 256 x 256 takes seconds.
    cluster = np.empty(size, np.int64)
    void = np.empty(size, np.int64)
    count = 0
    for y in range(size):
        for x in range(size):
            if initial[y, x]:
                count += 1
                _spread(energy, kernel, y, x, radius, span, 1)
    for y in range(size):
        _scan_row(energy, on, cluster, void, y)

    while True:
        y, x = _tightest_cluster(energy, cluster)
        _toggle(energy, on, cluster, void, kernel, y, x, radius, span)
        to_y, to_x = _largest_void(energy, void)
        _toggle(energy, on, cluster, void, kernel, to_y, to_x, radius, span)
        if to_y == y and to_x == x:
            break

    ranks = np.empty((size, size), np.int32)
    prototype, prototype_energy = on.copy(), energy.copy()
    for rank in range(count - 1, -1, -1):
        y, x = _tightest_cluster(energy, cluster)
        ranks[y, x] = rank
        _toggle(energy, on, cluster, void, kernel, y, x, radius, span)
    on, energy = prototype, prototype_energy
    for y in range(size):
        _scan_row(energy, on, cluster, void, y)
    # The paper's third phase finds the tightest cluster of off pixels. On a torus their energy is a constant minus that
    # of the on pixels, so this loop covers its second and third phases.
    for rank in range(count, size * size):
        y, x = _largest_void(energy, void)
        ranks[y, x] = rank
        _toggle(energy, on, cluster, void, kernel, y, x, radius, span)
    return ranks


@njit(cache=True)
def _spread(energy, kernel, y, x, radius, span, sign):
    size = energy.shape[0]
    for i in range(span):
        dy = (i - radius) % size
        row = (y + dy) % size
        for j in range(span):
            dx = (j - radius) % size
            energy[row, (x + dx) % size] += sign * kernel[dy, dx]


@njit(cache=True)
def _scan_row(energy, on, cluster, void, y):
    """Store the columns of the row's tightest cluster and largest void, -1 if there is none."""
    best_on, best_off = -1, -1
    for x in range(energy.shape[1]):
        if on[y, x]:
            if best_on < 0 or energy[y, x] > energy[y, best_on]:
                best_on = x
        elif best_off < 0 or energy[y, x] < energy[y, best_off]:
            best_off = x
    cluster[y], void[y] = best_on, best_off


@njit(cache=True)
def _toggle(energy, on, cluster, void, kernel, y, x, radius, span):
    on[y, x] = not on[y, x]
    _spread(energy, kernel, y, x, radius, span, 1 if on[y, x] else -1)
    for i in range(span):
        _scan_row(energy, on, cluster, void, (y + i - radius) % energy.shape[0])


@njit(cache=True)
def _tightest_cluster(energy, cluster):
    best = -1
    for y in range(energy.shape[0]):
        if cluster[y] >= 0 and (best < 0 or energy[y, cluster[y]] > energy[best, cluster[best]]):
            best = y
    return best, cluster[best]


@njit(cache=True)
def _largest_void(energy, void):
    best = -1
    for y in range(energy.shape[0]):
        if void[y] >= 0 and (best < 0 or energy[y, void[y]] < energy[best, void[best]]):
            best = y
    return best, void[best]
