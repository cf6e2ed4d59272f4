"""The guided search, which queries a proxy for the gradient of the restoration error."""

import copy

import numpy as np
import pytest
import torch

from model import guidance
from model.error_gradient import by_autograd
from model.load import build_network
from model.prior import Prior
from model.reshalf import ResHalf, calibration_photograph
from model.subpixel import Subpixel

pytestmark = pytest.mark.processor


def photo(height=96, width=80):
    """Smooth colours with sharp edges, (H, W, 3) BGR uint8."""
    y, x = np.mgrid[0:height, 0:width]
    soft = [128 + 50 * np.sin(x / 19 + phase) * np.cos(y / 23 - phase) for phase in (0.0, 1.0, 2.0)]
    edges = 40 * np.sign(np.sin(x / 5 + y / 9))
    return np.clip(np.stack(soft, axis=-1) + edges[..., None], 0, 255).round().astype(np.uint8)


def guided(proxy, **settings):
    network = ResHalf(4, {"guidance": 0.05, **settings}, levels=1)
    network.take_proxy(proxy)
    return network


def squared_error(proxy, bgr, halftone):
    with torch.no_grad():
        restored = proxy.decode(torch.from_numpy(halftone)[None, None].float() / 127.5 - 1)
    return (restored - (torch.from_numpy(bgr).permute(2, 0, 1) / 127.5 - 1)).square().mean().item()


def test_a_guided_halftone_restores_better_and_keeps_the_tone(proxy):
    bgr = photo()
    plain, found = proxy.prior_halftone(bgr), guided(proxy).prior_halftone(bgr)
    assert squared_error(proxy, bgr, found) < 0.9 * squared_error(proxy, bgr, plain)
    luma = bgr @ np.array([0.114, 0.587, 0.299])
    for top in range(0, 96, 16):
        for left in range(0, 80, 16):
            at = slice(top, top + 16), slice(left, left + 16)
            assert abs(found[at].mean() - luma[at].mean()) < 6


def test_fewer_rounds_have_less_weight_and_every_round_lowers_the_error(proxy):
    network, bgr = guided(proxy), photo()
    weights = [network.prior.guidance_weight(rounds) for rounds in range(13)]
    assert weights[0] == 0 and weights[network.prior.guided_rounds] == network.prior.guidance
    assert weights == sorted(weights)
    assert [weights[3], weights[12]] == pytest.approx(
        [0.5**0.5 * network.prior.guidance, 2**0.5 * network.prior.guidance]
    )
    errors = [squared_error(proxy, bgr, network.prior_halftone(bgr, rounds)) for rounds in (0, 1, 2, 6)]
    assert errors == sorted(errors, reverse=True)


def test_more_rounds_than_trained_restore_better_with_the_curvature_than_without(proxy, monkeypatch):
    network, bgr = guided(proxy, guidance=0.1), photo()
    trained = network.prior_halftone(bgr)
    found = network.prior_halftone(bgr, 12)
    monkeypatch.setattr(guidance, "CURVATURE", 0.0)
    assert np.array_equal(network.prior_halftone(bgr), trained)  # the rounds of training do not use it
    errors = [squared_error(proxy, bgr, halftone) for halftone in (found, network.prior_halftone(bgr, 12), trained)]
    assert errors == sorted(errors)


def test_gradients_of_an_earlier_decoder_count_as_a_few_rounds(proxy, monkeypatch):
    network, bgr = guided(proxy), photo(16, 16)
    gradients = {"first": np.zeros((16, 16), np.float32), "second": np.ones((16, 16), np.float32)}
    added = []
    monkeypatch.setattr(guidance, "gradient_of_rows", lambda prior, decoder, *rest: gradients[decoder])
    monkeypatch.setattr(guidance.Prior, "guidance_weight", lambda prior, rounds: 1e-6)
    monkeypatch.setattr("halftone.dbs.Search.add_linear_term", lambda search, rows, values: added.append(values[0, 0]))
    guidance.guided_halftone(network.prior, [("first", 20), ("second", 2)], bgr)
    assert len(added) == 22 and sum(added) == pytest.approx(1e-6 * 2 / (guidance.KEPT + 2))
    added.clear()
    guidance.guided_halftone(network.prior, [("first", 1), ("second", 1)], bgr)
    assert sum(added) == pytest.approx(1e-6 / 2)


def test_the_gradient_is_the_directional_derivative_of_the_error(proxy):
    network, bgr = guided(proxy), photo()
    halftone = network.prior.classical_halftone(bgr)
    gradient = by_autograd(network.prior, network.proxy, bgr, halftone, torch.device("cpu"))
    direction = np.random.default_rng(0).normal(size=halftone.shape)
    signal = halftone / 127.5 - 1
    colour = torch.from_numpy(bgr).permute(2, 0, 1)[None].double() / 127.5 - 1
    double = proxy.decoder.double()

    def error(step):
        at = torch.from_numpy(signal + step * direction)[None, None]
        linear = network.prior.demodulate(at.float()).double()
        return (linear + double(torch.cat((at, linear), dim=1)) - colour).square().sum().item()

    change = (error(1e-3) - error(-1e-3)) / 2e-3
    proxy.decoder.float()
    assert change == pytest.approx((gradient * direction).sum(), rel=2e-2, abs=0.05)


def test_the_gradient_depends_neither_on_tiles_nor_on_bands(proxy, monkeypatch):
    network, bgr = guided(proxy), photo(150, 131)
    halftone = network.prior.classical_halftone(bgr)
    quantized = network.as_int8(network.proxy)
    whole = guidance.gradient_of_rows(network.prior, quantized, bgr, halftone, slice(0, 150))
    monkeypatch.setattr(guidance, "TILE", 64)
    bands = [
        guidance.gradient_of_rows(network.prior, quantized, bgr, halftone, slice(top, min(top + 37, 150)))
        for top in range(0, 150, 37)
    ]
    np.testing.assert_allclose(np.concatenate(bands), whole, atol=1e-4 * np.abs(whole).max())


def test_the_search_runs_in_float32_inside_autocast_and_inference_mode(proxy):
    network, bgr = guided(proxy, guided_rounds=1), photo()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = network.prior_halftone(bgr)
    assert np.array_equal(inside, network.prior_halftone(bgr))


def test_changed_weights_are_quantized_again(proxy):
    network, bgr = guided(proxy), photo(32, 32)
    first, quantized = network.prior_halftone(bgr), network.as_int8(network.proxy)
    assert network.as_int8(network.proxy) is quantized
    torch.nn.init.normal_(network.proxy.outConv[-1].weight, std=0.3)
    assert network.as_int8(network.proxy) is not quantized
    assert (network.prior_halftone(bgr) != first).any()
    copied = copy.deepcopy(network)
    assert np.array_equal(copied.prior_halftone(bgr), network.prior_halftone(bgr))


def test_a_checkpoint_contains_its_proxy(proxy):
    network = guided(proxy)
    rebuilt = build_network({"state_dict": network.state_dict(), "arch": network.arch()})
    assert rebuilt.prior_key() == network.prior_key()
    assert np.array_equal(rebuilt.prior_halftone(photo()), network.prior_halftone(photo()))
    assert not any(parameter.requires_grad for parameter in network.proxy.parameters())
    other = ResHalf(4, {"guidance": 0.05}, levels=1)
    assert other.prior_key() != network.prior_key()
    other.take_proxy(network)
    assert other.prior_key() == network.prior_key()


def test_take_proxy_prefers_a_decoder_of_the_same_shape_to_the_proxy(proxy):
    second = ResHalf(16, {"guidance": 0.05}, levels=1, decoder="subpixel")
    second.take_proxy(proxy)
    torch.nn.init.normal_(second.decoder.outConv[-1].weight)
    network, wide = guided(proxy), ResHalf(32, {"guidance": 0.05}, levels=1, decoder="subpixel")
    network.take_proxy(second)
    assert torch.equal(network.proxy.outConv[-1].weight, second.decoder.outConv[-1].weight)
    wide.take_proxy(proxy)
    network.take_proxy(wide)  # its decoder is too wide
    assert network.prior_key() == guided(proxy).prior_key()


def test_a_checkpoint_contains_the_number_of_blocks_of_its_decoder():
    network = ResHalf(8, {}, decoder="subpixel", blocks=3)
    rebuilt = build_network({"state_dict": network.state_dict(), "arch": network.arch()})
    halftone = torch.ones(1, 1, 8, 8)
    assert len(rebuilt.decoder.residual) == 3 and torch.equal(rebuilt.decode(halftone), network.decode(halftone))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 9), (7, 5), (16, 16)])
def test_a_subpixel_network_accepts_any_size(height, width, proxy):
    network = Subpixel(4, 3, width=8)
    assert network(torch.zeros(2, 4, height, width)).shape == (2, 3, height, width)
    assert guided(proxy).prior_halftone(photo(height, width)).shape == (height, width)


@pytest.mark.parametrize("blocks", [2, 3])
def test_the_receptive_radius_is_exact(blocks):
    torch.manual_seed(0)
    network = Subpixel(1, 1, width=8, blocks=blocks).double()
    x = torch.zeros(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    network(x)[0, 0, 31, 30].backward()
    for at in x.grad[0, 0].nonzero().T:
        assert at.min() == 30 - network.receptive_radius and at.max() == 31 + network.receptive_radius


def test_the_calibration_photograph_is_deterministic_with_the_statistics_of_a_photograph():
    first, again = calibration_photograph(), calibration_photograph()
    assert np.array_equal(first, again) and first.dtype == np.uint8 and first.shape[2] == 3
    assert 30 < first.std() < 80 and 100 < first.mean() < 155
    centred = first.astype(float) - first.mean(axis=(0, 1))
    neighbours = (centred[:, 1:] * centred[:, :-1]).mean() / centred.var()
    assert 0.7 < neighbours < 0.99


def test_the_proxy_is_queried_on_the_cpu_wherever_the_network_is(monkeypatch):
    network, devices = ResHalf(4, Prior(guidance=0.05), 1, "subpixel"), []
    monkeypatch.setattr(network, "as_int8", lambda queried, device=None: devices.append((queried, device)))
    monkeypatch.setattr("model.reshalf.guided_halftone", lambda prior, queries, bgr: bgr[..., 0])
    network.prior_halftone(np.zeros((8, 8, 3), np.uint8))
    assert devices == [(network.proxy, torch.device("cpu"))]
    network.prior_halftone(np.zeros((8, 8, 3), np.uint8), best=True)
    assert devices[1:] == [(network.proxy, torch.device("cpu")), (network.decoder, None)]
