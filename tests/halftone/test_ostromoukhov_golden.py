"""Ostromoukhov compared with outputs of the published program, and its options."""

from pathlib import Path

import numpy as np
import pytest

from halftone.variable_diffusion import ostromoukhov, ostromoukhov_bands, ostromoukhov_table

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ostromoukhov.npz")


@pytest.mark.parametrize("name", ["ramp", "const32", "const127", "const200"])
def test_equals_the_published_program_bit_for_bit(name):
    assert np.array_equal(ostromoukhov(GOLDEN[f"in_{name}"]), GOLDEN[f"out_{name}"])


def test_the_table_is_symmetric_and_its_shares_do_not_exceed_the_error():
    right, down_left, total = ostromoukhov_table()
    for column in (right, down_left, total):
        assert column.shape == (256,)
        assert np.array_equal(column, column[::-1])
    assert (right + down_left <= total).all()


def test_a_float_signal_with_a_table_index_equals_the_uint8_image():
    gray = GOLDEN["in_ramp"]
    without_zero = np.maximum(gray, 1)
    assert np.array_equal(
        ostromoukhov(without_zero.astype(float), table_index=without_zero), ostromoukhov(without_zero)
    )


def test_an_input_of_0_is_black_only_without_a_table_index():
    gray = np.array([[120, 0]], np.uint8)  # a threshold below 0 turns every pixel white, except an input of exactly 0
    assert np.array_equal(ostromoukhov(gray, threshold=-1.0), [[255, 0]])
    assert np.array_equal(ostromoukhov(gray.astype(float), table_index=gray, threshold=-200.0), [[255, 255]])


def test_the_threshold_may_be_an_image():
    gray = np.full((1, 4), 100, np.uint8)
    assert np.array_equal(ostromoukhov(gray, threshold=np.array([[0.0, 999, 999, 999]])), [[255, 0, 0, 0]])


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_an_image_in_bands_has_the_halftone_of_the_whole_image(rows):
    random = np.random.default_rng(0)
    level, threshold = random.uniform(-20, 280, (150, 230)), random.uniform(80, 170, (150, 230))
    index = random.integers(0, 256, level.shape, np.uint8)
    whole = ostromoukhov(level, table_index=index, threshold=threshold)
    bands = [slice(top, top + rows) for top in range(0, len(level), rows)]
    parts = list(ostromoukhov_bands((level[band], index[band], threshold[band]) for band in bands))
    assert np.array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(
        ostromoukhov(level[rows:], table_index=index[rows:]), whole[rows:]
    )  # errors cross the border of a band
