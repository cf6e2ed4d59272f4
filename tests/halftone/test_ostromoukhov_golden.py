"""Ostromoukhov against the published system's own outputs."""

from pathlib import Path

import numpy as np
import pytest

from halftone.variable_diffusion import ostromoukhov, ostromoukhov_bands, ostromoukhov_table

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ostromoukhov.npz")


@pytest.mark.parametrize("name", ["ramp", "const32", "const127", "const200"])
def test_equals_the_published_system_bit_for_bit(name):
    assert np.array_equal(ostromoukhov(GOLDEN[f"in_{name}"]), GOLDEN[f"out_{name}"])


def test_table_mirrors_and_shares_out_no_more_than_the_error():
    right, down_left, total = ostromoukhov_table()
    for column in (right, down_left, total):
        assert column.shape == (256,)
        assert np.array_equal(column, column[::-1])
    assert (right + down_left <= total).all()


def test_a_float_signal_with_its_own_index_equals_the_bytes():
    gray = GOLDEN["in_ramp"]
    nowhere_black = np.maximum(gray, 1)
    assert np.array_equal(
        ostromoukhov(nowhere_black.astype(float), table_index=nowhere_black), ostromoukhov(nowhere_black)
    )


def test_zero_is_forced_black_only_where_gray_picks_its_own_row():
    gray = np.array([[120, 0]], np.uint8)  # a threshold below zero turns everything white, but for the exact zero
    assert np.array_equal(ostromoukhov(gray, threshold=-1.0), [[255, 0]])
    assert np.array_equal(ostromoukhov(gray.astype(float), table_index=gray, threshold=-200.0), [[255, 255]])


def test_threshold_may_be_an_image():
    gray = np.full((1, 4), 100, np.uint8)
    assert np.array_equal(ostromoukhov(gray, threshold=np.array([[0.0, 999, 999, 999]])), [[255, 0, 0, 0]])


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_an_image_in_bands_has_the_halftone_of_the_whole(rows):
    random = np.random.default_rng(0)
    level, threshold = random.uniform(-20, 280, (150, 230)), random.uniform(80, 170, (150, 230))
    index = random.integers(0, 256, level.shape, np.uint8)
    whole = ostromoukhov(level, table_index=index, threshold=threshold)
    bands = [slice(top, top + rows) for top in range(0, len(level), rows)]
    parts = list(ostromoukhov_bands((level[band], index[band], threshold[band]) for band in bands))
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(ostromoukhov(level[rows:], table_index=index[rows:]), whole[rows:])  # errors are carried
