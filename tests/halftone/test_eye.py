"""Models of the eye, and direct binary search with them."""

import math

import numpy as np
import pytest
from scipy.ndimage import convolve

from halftone.error_diffusion import error_diffusion
from halftone.eye import EYE_MODELS, nasanen, search_for_eye


@pytest.mark.parametrize("eye", EYE_MODELS)
def test_a_point_spread_function_has_sum_one_and_is_symmetric(eye):
    spread = EYE_MODELS[eye]()
    assert spread.shape[0] == spread.shape[1] and spread.shape[0] % 2
    assert spread.sum() == pytest.approx(1)
    for turned in (spread.T, spread[::-1], spread[:, ::-1]):
        assert np.allclose(spread, turned, atol=1e-12)
    assert spread.argmax() == spread.size // 2


def test_nasanens_spread_follows_the_formula():
    spread = nasanen(radius=5)
    k = math.pi * 2000 / (180 * (0.525 * math.log(11) + 3.91))
    assert spread.shape == (11, 11) and spread.sum() == pytest.approx(1) and k == pytest.approx(6.7535, abs=1e-3)
    assert np.array_equal(spread, spread.T)
    assert spread[5, 7] / spread[5, 5] == pytest.approx((1 + (4 * math.pi / k) ** 2) ** -1.5)


def test_nasanens_spread_follows_its_scale():
    spread = nasanen(scale=12000.0)[6]  # wide, so that the samples are close together
    k = np.pi * 12000 / (180 * (0.525 * np.log(11) + 3.91))
    radius = np.arange(-6, 7)
    assert np.allclose(spread / spread[6], (1 + (2 * np.pi * radius / k) ** 2) ** -1.5)


def test_nasanens_spread_is_the_transform_of_an_exponential():
    """The transform of the samples on a wide grid is exp(−k f)."""
    spread = nasanen(radius=400)
    k = math.pi * 2000 / (180 * (0.525 * math.log(11) + 3.91))
    response = [(spread.sum(0) * np.cos(2 * math.pi * f * np.arange(-400, 401))).sum() for f in (0.05, 0.1, 0.2)]
    ratios = [response[1] / response[0], response[2] / response[1]]
    assert ratios == pytest.approx([math.exp(-0.05 * k), math.exp(-0.1 * k)], rel=0.03)


@pytest.mark.parametrize("eye", EYE_MODELS)
def test_the_search_lowers_the_perceived_error(eye):
    y, x = np.mgrid[:64, :64]
    gray = (127 + 90 * np.sin(x / 15) * np.cos(y / 11)).astype(np.uint8)
    spread = EYE_MODELS[eye]()

    def perceived(halftone):
        return (convolve((halftone.astype(float) - gray) / 127.5, spread, mode="constant") ** 2).sum()

    after_one, after_all = (perceived(search_for_eye(gray, eye=eye, passes=passes)) for passes in (1, 8))
    assert after_all < after_one < perceived(error_diffusion(gray))


def test_an_unknown_eye_lists_the_known_ones():
    with pytest.raises(KeyError, match="nasanen"):
        search_for_eye(np.zeros((2, 2), np.uint8), eye="hawk")
