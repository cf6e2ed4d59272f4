"""The gradient that a guided search asks for: what is written out for CPUs is what torch differentiates."""

import numba
import numpy as np
import pytest
import torch

from model.error_gradient import by_autograd, error_gradient
from model.fixed_point import FixedPoint
from model.reshalf import ResHalf


def photo(height, width):
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 90 * np.sin(x / 7 + phase) * np.cos(y / 9 - phase) for phase in (0.0, 1.0, 2.0)]
    return np.clip(np.stack(planes, axis=-1), 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = ResHalf(16, {"guidance": 0.05})
    torch.nn.init.normal_(made.proxy.outConv[-1].weight, std=0.02)
    return made


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 20), (20, 33), (3, 2), (1, 6), (5, 1), (1, 1)])
def test_written_out_it_is_what_torch_differentiates(network, height, width):
    bgr, proxy = photo(height, width), network.as_int8(network.proxy)
    halftone = network.prior.classical_halftone(bgr)
    found = error_gradient(network.prior, proxy, bgr, halftone)
    expected = by_autograd(network.prior, proxy, bgr, halftone, torch.device("cpu"))
    assert found.shape == (height, width) and found.dtype == np.float32
    # Single values round to another integer where float32 sums in another order.
    assert np.linalg.norm(found - expected) < 0.04 * np.linalg.norm(expected)


def test_black_white_and_full_colours_have_finite_gradients(network):
    colours = np.array([[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 0, 0]], np.uint8)
    bgr = colours.reshape(2, 2, 3).repeat(16, axis=0).repeat(16, axis=1)
    for halftone in (network.prior.classical_halftone(bgr), np.zeros((32, 32), np.uint8)):
        ways = error_gradient, lambda *given: by_autograd(*given, torch.device("cpu"))
        found, expected = (way(network.prior, network.as_int8(network.proxy), bgr, halftone) for way in ways)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_integers_ask_for_what_float32_asks_for(network):
    bgr = photo(64, 64)
    halftone = network.prior.classical_halftone(bgr)
    found = error_gradient(network.prior, network.as_int8(network.proxy), bgr, halftone)
    expected = by_autograd(network.prior, network.proxy, bgr, halftone, torch.device("cpu"))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


def test_a_prior_without_a_demodulator_is_differentiated(network):
    torch.manual_seed(0)
    other = ResHalf(16, {"guidance": 0.05, "demodulator": False})
    bgr = photo(32, 32)
    proxy = other.as_int8(other.proxy)
    assert isinstance(proxy, FixedPoint)
    gradient = error_gradient(other.prior, proxy, bgr, other.prior.classical_halftone(bgr))
    assert gradient.shape == (32, 32) and np.abs(gradient).max() > 0


@pytest.mark.parametrize(("height", "width"), [(3, 301), (5, 1001), (65, 40)])
def test_threads_change_nothing(network, height, width):
    bgr, proxy = photo(height, width), network.as_int8(network.proxy)
    halftone = network.prior.classical_halftone(bgr)
    numba.set_num_threads(1)
    try:
        alone = error_gradient(network.prior, proxy, bgr, halftone)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    for _ in range(30):  # two threads that met in one row did so now and then
        assert np.array_equal(error_gradient(network.prior, proxy, bgr, halftone), alone)
