"""The pilot signal: crops, mirror images and quarter turns are detected, and nothing else is."""

import numpy as np
import pytest

from halftone.methods import METHODS
from model.pilot import MIN_SCORE, PATTERN, UNKNOWN, detect_origin, detect_pilot, pilot_wave


def dots(strength, height=128, width=128, seed=0):
    """Random dots of all levels, biased by the pilot of amplitude `strength`."""
    rng = np.random.default_rng(seed)
    level = np.linspace(-0.8, 0.8, width) + strength * pilot_wave((height, width))
    return np.where(rng.uniform(-1, 1, (height, width)) < level, np.uint8(255), np.uint8(0))


def test_the_pilot_continues_from_band_to_band():
    whole = pilot_wave((11, 7))
    assert np.array_equal(np.vstack((pilot_wave((5, 7)), pilot_wave((6, 7), top=5))), whole)
    assert np.mean(PATTERN**2) == pytest.approx(1) and PATTERN.sum() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("rows", range(4))
@pytest.mark.parametrize("columns", range(4))
def test_crops_mirror_images_and_quarter_turns_are_detected(rows, columns):
    cut = dots(0.2)[rows:, columns:]
    assert detect_origin(cut) == (False, rows % 2, columns % 2)
    assert detect_origin(cut[:, ::-1]) == (False, rows % 2, 1)  # the last of 128 columns is an odd one
    assert detect_origin(cut[::-1]) == (False, 1, columns % 2)
    assert detect_origin(cut[::-1, ::-1]) == (False, 1, 1)
    assert detect_origin(cut.T) == (True, rows % 2, columns % 2)
    assert detect_origin(np.rot90(cut)) == (True, rows % 2, 1)
    assert detect_origin(np.rot90(cut, 3)) == (True, 1, columns % 2)


def test_a_pilot_without_the_orientation_wave_identifies_crops():
    quarter, nyquist = np.array([1, 0, -1, 0]), np.array([1, -1, 1, -1])
    former = np.tile(np.outer(quarter, nyquist) + np.outer(nyquist, quarter), (32, 32))
    random = np.random.default_rng(0).uniform(-1, 1, former.shape)
    halftone = np.where(random < 0.1 * former, np.uint8(255), np.uint8(0))
    assert detect_origin(halftone[1:]) == (False, 1, 0)
    assert detect_origin(halftone[:, 3:]) == (False, 0, 1)


def test_random_dots_have_no_pilot():
    assert all(detect_origin(dots(0, seed=seed)[1:, 1:]) == UNKNOWN for seed in range(20))


def test_an_inverted_pilot_is_distinguished_from_an_upright_one():
    for turned in (dots(0.2), dots(0.2)[1:, ::-1], np.rot90(dots(0.2)), dots(0.2)[::-1, 2:].T):
        upright, inverted = detect_pilot(turned), detect_pilot(255 - turned)
        assert upright.present and inverted.present and upright.expected
        assert inverted.inverted > MIN_SCORE**2 and upright.inverted == pytest.approx(-inverted.inverted)


@pytest.mark.parametrize("method", ["bayer_4", "bayer_8", "dot_diffusion_knuth", "dot_diffusion_mese_8", "sierra"])
def test_other_halftones_have_no_pilot_though_regular_ones_correlate_with_it(method):
    gray = np.tile(np.linspace(20, 235, 256).astype(np.uint8), (256, 1))
    found = detect_pilot(METHODS[method](gray))
    assert found.expected and not found.present


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3, 9), (4, 4), (5, 7)])
@pytest.mark.parametrize("level", [0, 255])
def test_tiny_and_flat_halftones_have_no_pilot(shape, level):
    assert detect_origin(np.full(shape, level, np.uint8)) == UNKNOWN
    assert detect_origin(dots(0.1, *shape)) == UNKNOWN
