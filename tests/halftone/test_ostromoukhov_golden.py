"""Ostromoukhov against the published system's own outputs."""

from pathlib import Path

import numpy as np
import pytest

from halftone.error_diffusion import ostromoukhov, ostromoukhov_table

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ostromoukhov.npz")


@pytest.mark.parametrize("name", ["ramp", "const32", "const127", "const200"])
def test_equals_the_published_system_bit_for_bit(name):
    assert np.array_equal(ostromoukhov(GOLDEN[f"in_{name}"]), GOLDEN[f"out_{name}"])


def test_table_rows_sum_and_mirror():
    table = ostromoukhov_table()
    assert table.shape == (256, 4)
    assert np.array_equal(table[:, :3].sum(axis=1), table[:, 3])
    assert np.array_equal(table, table[::-1])


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
