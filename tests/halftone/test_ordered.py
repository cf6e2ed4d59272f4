"""Ordered dither and its matrices of ranks."""

import zlib

import numpy as np
import pytest

from halftone.ordered import (
    CLUSTERED_45,
    bayer,
    bayer_matrix,
    blue_noise,
    diamond_matrix,
    ordered,
    spiral_matrix,
    white_noise,
)

SQUARES = {
    "bayer_2": bayer_matrix(2),
    "bayer_16": bayer_matrix(16),
    "clustered_45": CLUSTERED_45,
    "spiral_5": spiral_matrix(5),
    "spiral_6": spiral_matrix(6),
    "diamond_7": diamond_matrix(7),
    "diamond_8": diamond_matrix(8),
}


def compared_one_by_one(gray, ranks):
    out = np.zeros(gray.shape, np.uint8)
    for y, x in np.ndindex(gray.shape):
        rank = int(ranks[y % ranks.shape[0], x % ranks.shape[1]])
        out[y, x] = 255 if gray[y, x] > 255 * (rank + 0.5) / (int(ranks.max()) + 1) else 0
    return out


@pytest.mark.parametrize("name", SQUARES)
def test_every_rank_occurs_once(name):
    ranks = SQUARES[name]
    assert np.array_equal(np.sort(ranks, axis=None), np.arange(ranks.size))


@pytest.mark.parametrize("name", SQUARES)
def test_equals_a_comparison_pixel_by_pixel(name):
    gray = np.random.RandomState(1).randint(0, 256, (23, 41)).astype(np.uint8)
    expected = compared_one_by_one(gray, SQUARES[name])
    assert np.array_equal(ordered(gray, SQUARES[name]), expected)
    assert np.array_equal(ordered(gray.astype(float), SQUARES[name]), expected)


def test_a_custom_matrix_may_be_rectangular_and_repeat_ranks():
    gray = np.full((5, 7), 100, np.uint8)
    ranks = np.array([[0, 1, 1]])
    assert np.array_equal(ordered(gray, ranks), compared_one_by_one(gray, ranks))


def test_bayer_matrix_is_as_published():
    assert np.array_equal(bayer_matrix(4), [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])


def test_the_clustered_matrix_is_the_one_compared_with_its_source():
    assert zlib.crc32(CLUSTERED_45.astype("<i4").tobytes()) == 2815165572


def test_bayer_at_middle_gray_is_a_checkerboard():
    out = bayer(np.full((16, 16), 127.5))
    y, x = np.mgrid[:16, :16]
    assert np.array_equal(out == 255, (y + x) % 2 == 0)


def test_the_spiral_starts_at_the_centre():
    assert np.array_equal(spiral_matrix(3), [[6, 7, 8], [5, 0, 1], [4, 3, 2]])


def test_clustered_dots_are_on_a_grid_at_45_degrees():
    dark = CLUSTERED_45 < 16
    assert np.array_equal(dark, np.roll(dark, (4, 4), axis=(0, 1)))
    assert not (dark & np.roll(dark, 4, axis=1)).any()


def test_blue_noise_of_another_size_depends_on_its_seed():
    gray = np.full((40, 40), 90, np.uint8)
    assert np.array_equal(blue_noise(gray, size=16, seed=1), blue_noise(gray, size=16, seed=1))
    assert not np.array_equal(blue_noise(gray, size=16, seed=1), blue_noise(gray, size=16, seed=2))


def test_the_spectrum_of_white_noise_is_flat():
    field = white_noise(np.full((256, 256), 100, np.uint8), seed=7) / 255 - 100 / 255
    power = np.abs(np.fft.fft2(field)) ** 2 / field.size / (100 / 255 * 155 / 255)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    for low, high in ((0.01, 0.1), (0.1, 0.2), (0.2, 0.35), (0.35, 0.5)):
        assert abs(power[(frequency >= low) & (frequency < high)].mean() - 1) < 0.1


@pytest.mark.parametrize("ranks", [np.zeros((2, 2)), np.array([[-1, 0]]), np.zeros(3, int), np.zeros((0, 2), int)])
def test_an_invalid_matrix_of_ranks_is_refused(ranks):
    with pytest.raises(ValueError, match="ranks must"):
        ordered(np.zeros((2, 2), np.uint8), ranks)


@pytest.mark.parametrize("size", [0, 1, 3, 12])
def test_a_bayer_size_that_is_not_a_power_of_two_is_refused(size):
    with pytest.raises(ValueError, match="Bayer"):
        bayer_matrix(size)
