import numpy as np
import pytest

from halftone.pilot import PATTERN, origin_parity, pilot_wave


def dots(strength, height=128, width=128, seed=0):
    """Random dots of all levels, biased by the pilot."""
    rng = np.random.default_rng(seed)
    level = np.linspace(-0.8, 0.8, width) + strength * pilot_wave((height, width))
    return np.where(rng.uniform(-1, 1, (height, width)) < level, np.uint8(255), np.uint8(0))


def test_the_pilot_continues_from_band_to_band():
    whole = pilot_wave((11, 7))
    assert np.array_equal(np.vstack((pilot_wave((5, 7)), pilot_wave((6, 7), top=5))), whole)
    assert np.mean(PATTERN**2) == 1 and PATTERN.sum() == 0


@pytest.mark.parametrize("rows", range(4))
@pytest.mark.parametrize("columns", range(4))
def test_a_crop_and_its_mirror_images_are_told(rows, columns):
    cut = dots(0.1)[rows:, columns:]
    assert origin_parity(cut) == (rows % 2, columns % 2)
    assert origin_parity(cut[:, ::-1]) == (rows % 2, 1)  # the last of 128 columns is an odd one
    assert origin_parity(cut[::-1]) == (1, columns % 2)
    assert origin_parity(cut[::-1, ::-1]) == (1, 1)


def test_chance_is_no_pilot():
    assert all(origin_parity(dots(0, seed=seed)[1:, 1:]) == (0, 0) for seed in range(20))


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3, 9), (4, 4), (5, 7)])
@pytest.mark.parametrize("level", [0, 255])
def test_there_is_none_in_scraps_and_flat_fields(shape, level):
    assert origin_parity(np.full(shape, level, np.uint8)) == (0, 0)
    assert origin_parity(dots(0.1, *shape)) == (0, 0)
