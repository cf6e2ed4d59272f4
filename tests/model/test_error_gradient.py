"""The gradient of the guided search: the numba implementation against autograd."""

import numba
import numpy as np
import pytest
import torch

from model.error_gradient import by_autograd, error_gradient
from model.reshalf import ResHalf

pytestmark = pytest.mark.processor


def photo(height, width):
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 90 * np.sin(x / 7 + phase) * np.cos(y / 9 - phase) for phase in (0.0, 1.0, 2.0)]
    return np.clip(np.stack(planes, axis=-1), 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = ResHalf(16, {"guidance": 0.05})
    torch.nn.init.normal_(network.proxy.outConv[-1].weight, std=0.02)
    return network


@pytest.mark.parametrize(("height", "width"), [(48, 64), (33, 20), (20, 33), (3, 2), (1, 6), (5, 1), (1, 1)])
def test_the_numba_gradient_equals_autograd(network, height, width):
    bgr, proxy = photo(height, width), network.as_int8(network.proxy)
    halftone = network.prior.classical_halftone(bgr)
    found = error_gradient(network.prior, proxy, bgr, halftone)
    expected = by_autograd(network.prior, proxy, bgr, halftone, torch.device("cpu"))
    assert found.shape == (height, width) and found.dtype == np.float32
    # Sums in another order round single values to another integer.
    assert np.linalg.norm(found - expected) < 0.04 * np.linalg.norm(expected)


def test_black_white_and_full_colours_have_finite_gradients(network):
    colours = np.array([[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 0, 0]], np.uint8)
    bgr = colours.reshape(2, 2, 3).repeat(16, axis=0).repeat(16, axis=1)
    for halftone in (network.prior.classical_halftone(bgr), np.zeros((32, 32), np.uint8)):
        functions = error_gradient, lambda *given: by_autograd(*given, torch.device("cpu"))
        found, expected = (
            function(network.prior, network.as_int8(network.proxy), bgr, halftone) for function in functions
        )
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())


def test_the_int8_gradient_is_close_to_the_float32_gradient(network):
    bgr = photo(64, 64)
    halftone = network.prior.classical_halftone(bgr)
    found = error_gradient(network.prior, network.as_int8(network.proxy), bgr, halftone)
    expected = by_autograd(network.prior, network.proxy, bgr, halftone, torch.device("cpu"))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(("height", "width"), [(3, 301), (5, 1001), (65, 40)])
def test_the_gradient_does_not_depend_on_the_number_of_threads(network, height, width):
    bgr, proxy = photo(height, width), network.as_int8(network.proxy)
    halftone = network.prior.classical_halftone(bgr)
    numba.set_num_threads(1)
    try:
        serial = error_gradient(network.prior, proxy, bgr, halftone)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    for _ in range(30):  # a race between two threads in one row would show only now and then
        assert np.array_equal(error_gradient(network.prior, proxy, bgr, halftone), serial)
