"""Ostromoukhov in interleaved segments and Zhou-Fang, compared with Python references."""

import numpy as np
import pytest
from numba import njit

from halftone.noise import uniform
from halftone.variable_diffusion import (
    LANES,
    _quotient,
    _segment_length,
    ostromoukhov,
    ostromoukhov_table,
    zhou_fang,
    zhou_fang_table,
)


def reference(gray, index, threshold, table):
    right, down_left, total = table
    height, width = gray.shape
    carry = np.zeros((height + 1, width))
    out = np.zeros((height, width), np.uint8)
    for y in range(height):
        step = -1 if y % 2 else 1
        for x in range(width)[::step]:
            level = float(gray[y, x]) + carry[y, x]
            white = level > threshold[y, x]
            out[y, x] = 255 if white else 0
            error = level - (255.0 if white else 0.0)
            row = index[y, x]
            to_right = right[row] * error / total[row]
            to_side = down_left[row] * error / total[row]
            if 0 <= x + step < width:
                carry[y, x + step] += to_right
            carry[y + 1, x] += error - (to_right + to_side)
            if 0 <= x - step < width:
                carry[y + 1, x - step] += to_side
    return out


def image(kind: str, height: int, width: int) -> np.ndarray:
    random = np.random.RandomState(height + width)
    if kind == "noise":
        return random.randint(1, 256, (height, width)).astype(np.uint8)
    ramp = np.linspace(1, 254, width)[None, :] + random.randn(height, width)
    return np.clip(ramp, 1, 254).astype(np.uint8)


@pytest.mark.parametrize("kind", ["noise", "ramp"])
@pytest.mark.parametrize("width", [5, 479, 480, 768, 1024, 1337, 2048])
def test_interleaved_segments_give_the_result_of_a_plain_scan(kind, width):
    gray = image(kind, 6, width)
    threshold = np.full(gray.shape, 127.5)
    assert np.array_equal(ostromoukhov(gray), reference(gray, gray, threshold, ostromoukhov_table()))


def test_segments_are_exact_even_if_errors_hardly_decay():
    # An unreachable threshold lets the level grow along the whole row: the initial error of a segment does not decay.
    gray = image("noise", 4, 1500)
    threshold = np.full(gray.shape, 1e9)
    out = ostromoukhov(gray.astype(float), table_index=gray, threshold=threshold)
    assert np.array_equal(out, reference(gray, gray, threshold, ostromoukhov_table()))
    modulated = 127.5 + 80 * np.sin(np.arange(6000).reshape(4, 1500))
    out = ostromoukhov(gray.astype(float) * 1.6 - 70, table_index=gray, threshold=modulated)
    assert np.array_equal(out, reference(gray.astype(float) * 1.6 - 70, gray, modulated, ostromoukhov_table()))


def test_wide_rows_are_split_into_segments():
    assert _segment_length(470) == 0
    assert all(0 < _segment_length(width) <= width // LANES for width in (480, 800, 1024, 4096, 8192))


@njit
def quotients(part, total):
    return [_quotient(part[i], total[i], 1 / total[i]) for i in range(len(part))]


@pytest.mark.parametrize("table", [ostromoukhov_table(), zhou_fang_table()[0]])
def test_quotients_are_correctly_rounded(table):
    random = np.random.default_rng(0)
    right, down_left, total = (np.tile(column, 400) for column in table)
    for share in (right, down_left):
        error = random.uniform(-255, 255, len(total)) * 2.0 ** random.choice([0, 0, -20, -200, 100], len(total))
        error[::7] = np.rint(error[::7])
        assert np.array_equal(quotients(share * error, total), share * error / total)


def test_the_zhou_fang_table_is_that_of_the_released_program():
    (right, down_left, total), strength = zhou_fang_table()
    printed = {5: (0.606570, 0.037983), 40: (0.459599, 0.240895), 43: (0.437641, 0.376266), 102: (0.351327, 0.360597)}
    for level, shares in printed.items():
        assert np.allclose((right[level], down_left[level]), shares, atol=1.5e-6)
        assert right[255 - level] == right[level]
    assert [strength[level] for level in (0, 1, 45, 66, 83, 89, 96, 127)] == [0, 0, 34, 56, 100, 66, 21, 100]
    assert (total == 1).all() and (right + down_left < 1).all()


def test_zhou_fang_equals_the_python_reference():
    gray = image("ramp", 12, 90)
    table, strength = zhou_fang_table()
    threshold = np.full(gray.shape, 127.0)
    for y, x in np.ndindex(gray.shape):
        if strength[gray[y, x]] > 0:
            threshold[y, x] = 128 + np.floor(np.floor(128 * uniform(9, y, x)) * strength[gray[y, x]] / 100)
    assert np.array_equal(zhou_fang(gray, seed=9), reference(gray, gray, threshold, table))


def test_a_wrong_index_or_threshold_is_refused():
    gray = np.zeros((3, 4), np.uint8)
    with pytest.raises(ValueError, match="table_index"):
        ostromoukhov(gray, table_index=np.zeros((4, 3), np.uint8))
    with pytest.raises(ValueError, match="threshold"):
        ostromoukhov(gray, threshold=np.zeros((1, 4)))
    with pytest.raises(ValueError, match="0..255"):
        ostromoukhov(gray - 1.0)
