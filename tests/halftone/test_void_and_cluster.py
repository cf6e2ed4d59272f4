"""Blue-noise masks: ranks, spectrum, periodicity, and the stored mask."""

import numpy as np
import pytest

from halftone.void_and_cluster import stored_mask, void_and_cluster


@pytest.mark.parametrize("size", [1, 2, 3, 17, 32])
def test_every_rank_occurs_once(size):
    assert np.array_equal(np.sort(void_and_cluster(size), axis=None), np.arange(size * size))


def test_the_stored_mask_equals_the_generated_one():
    assert stored_mask().dtype == np.int32
    assert np.array_equal(stored_mask(), void_and_cluster(64, seed=0, sigma=1.5))


def test_the_mask_depends_on_the_seed_only():
    assert np.array_equal(void_and_cluster(24, seed=5), void_and_cluster(24, seed=5))
    assert not np.array_equal(void_and_cluster(24, seed=5), void_and_cluster(24, seed=6))


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25, 0.5, 0.75, 0.9])
def test_the_spectrum_is_blue_noise(share):
    mask = void_and_cluster(128, seed=2)
    on = mask < share * mask.size
    power = np.abs(np.fft.fft2(on - share)) ** 2 / mask.size / (share * (1 - share))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    principal = np.sqrt(min(share, 1 - share))
    low = (frequency > 0) & (frequency < principal / 3)
    assert power[low].mean() < 0.1, "white noise has 1"
    ring = (frequency > 0.8 * principal) & (frequency < min(1.2 * principal, 0.7))
    assert power[ring].mean() > 1


def test_the_mask_is_periodic():
    mask = void_and_cluster(64, seed=3)
    on = np.argwhere(mask < 0.03 * mask.size)
    apart = np.abs(on[:, None] - on[None, :])
    distance = np.hypot(*np.moveaxis(np.minimum(apart, 64 - apart), -1, 0))
    np.fill_diagonal(distance, np.inf)
    # 123 points on the torus; in a hexagonal lattice their distance would be 6.2.
    assert distance.min() > 3.5


@pytest.mark.parametrize("bad", [{"size": 0}, {"size": 4, "sigma": 0.0}])
def test_a_size_or_sigma_of_0_is_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        void_and_cluster(**bad)
