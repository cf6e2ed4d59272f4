"""A network in integers: what it computes, how close that is, and that every way to compute it agrees to the bit."""

import pickle

import numpy as np
import pytest
import torch

from model import fixed_point
from model.fixed_point import Convolution, FixedPoint, Format, fitting_format, has_integer_convolution
from model.subpixel import Subpixel

QUICKEST = has_integer_convolution()
WAYS = sorted({False, QUICKEST})


def network(inputs=2, width=8, blocks=3):
    torch.manual_seed(0)
    return Subpixel(inputs, 3, width, blocks).requires_grad_(False)


def pictures(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_a_format_fits_the_values():
    assert fitting_format(torch.linspace(-1, 1, 1001), True).exponent == -7
    assert fitting_format(torch.linspace(0, 1, 1001), False).exponent == -8
    normal = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    normal = normal.clamp(-3.9, 3.9)
    normal[0] = 5  # saturated, so that the others keep their precision
    form = fitting_format(normal, True)
    assert form == Format(-5, True) and form.zero == 128 and form.factor == 32
    assert fitting_format(torch.zeros(8), True).factor > 0


@pytest.mark.parametrize("native", WAYS)
def test_a_convolution_is_exact_up_to_its_last_rounding(native):
    weight = torch.randint(-127, 128, (6, 4, 3, 3), generator=torch.Generator().manual_seed(0)) / 64
    bias = torch.arange(6) / 8
    bytes_ = torch.randint(0, 256, (2, 4, 9, 7), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    bytes_ = bytes_.contiguous(memory_format=torch.channels_last)
    source, target = Format(-6, True), Format(-2, True)
    numbers = bytes_ if native else bytes_.float() - 128
    expected = torch.conv2d((bytes_.double() - 128) / 64, weight.double(), bias.double(), padding=1)
    found = Convolution(weight, bias, source, None, native)(numbers)
    assert torch.equal(found.double(), expected)
    rounded = Convolution(weight, bias, source, target, native)(numbers).double() - (128 if native else 0)
    assert torch.equal(rounded, (expected * 4).round().clamp(-128, 127))
    positive = Convolution(weight, bias, source, Format(-2, False), native)(numbers).double()
    assert torch.equal(positive, (expected * 4).round().clamp(0, 255))


@pytest.mark.parametrize(("channels", "size"), [(16, 1e-7), (16, 1.0), (256, 1.0)])
def test_tiny_weights_and_many_channels_are_exact_too(channels, size):
    weight = size * (0.5 + torch.rand(16, channels, 3, 3, generator=torch.Generator().manual_seed(0)))
    bytes_ = torch.randint(200, 256, (1, channels, 24, 24), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    bytes_, source = bytes_.contiguous(memory_format=torch.channels_last), Format(-8, False)
    for target in (None, Format(-1, True)):
        native, exact = (Convolution(weight, weight[:, 0, 0, 0], source, target, way) for way in (QUICKEST, False))
        zero = 128 if target and QUICKEST else 0
        assert torch.equal(native(bytes_ if QUICKEST else bytes_.float()).float() - zero, exact(bytes_.float()))


@pytest.mark.parametrize("native", WAYS)
def test_it_can_be_pickled(native):
    integers, x = FixedPoint(network(), pictures(1, 2, 16, 16), native=native), pictures(1, 2, 8, 8)
    assert torch.equal(pickle.loads(pickle.dumps(integers))(x), integers(x))


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 10), (32, 32)])
def test_it_restores_as_the_network_does(native, height, width):
    wanted, x = network(), pictures(2, 2, height, width)
    found = FixedPoint(wanted, pictures(1, 2, 32, 32), native=native)(x)
    expected = wanted(x)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert (found - expected).square().mean() < 1e-3 * expected.var(unbiased=False).clamp_min(0.01)


@pytest.mark.parametrize("native", WAYS)
def test_its_gradients_are_those_of_the_network(native):
    wanted, example, target = network(), pictures(1, 2, 32, 32), pictures(1, 3, 32, 32) / 4
    found = FixedPoint(wanted, example, target, native)

    def gradient(restore):
        x = pictures(1, 2, 24, 31).requires_grad_()
        return torch.autograd.grad((restore(x) - target[..., :24, :31]).square().sum(), x)[0].flatten()

    expected = gradient(wanted)
    assert torch.corrcoef(torch.stack((gradient(found), expected)))[0, 1] > 0.98
    assert (gradient(found) @ expected / expected.square().sum()).item() == pytest.approx(1, abs=0.03)


def test_instructions_for_integers_change_no_bit():
    wanted, example, target = network(inputs=4, width=16), pictures(1, 4, 32, 32), pictures(1, 3, 32, 32)
    ways = [FixedPoint(wanted, example, target, native) for native in (QUICKEST, False)]
    outputs, gradients = [], []
    for way in ways:
        x = pictures(2, 4, 40, 54).requires_grad_()
        outputs.append(way(x))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), x)[0])
    assert torch.equal(*outputs) and torch.equal(*gradients)
    assert gradients[0].std() > 0


def test_what_torch_packs_for_a_gpu_is_what_is_packed_here():
    example, target = pictures(1, 2, 16, 16), pictures(1, 3, 16, 16)
    outputs, gradients = [], []
    for on_cpu in (True, False):
        integers = FixedPoint(network(), example, target, native=False)
        integers.on_cpu = on_cpu
        x = (3 * pictures(2, 2, 12, 10)).requires_grad_()
        outputs.append(integers(x))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), x)[0])
    assert torch.equal(*outputs) and torch.equal(*gradients)


def test_surrounding_autocast_and_inference_change_no_bit():
    x, wanted = pictures(1, 2, 16, 16), network()
    outside = FixedPoint(wanted, x, native=False)(x)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = FixedPoint(wanted, x, native=False)(x)
        made_inside = FixedPoint(network(), x, x.expand(-1, 2, -1, -1)[:, [0, 1, 0]], native=False)(x)
    assert torch.equal(inside, outside) and torch.equal(made_inside, outside)


def test_a_processor_without_the_instructions_is_told(monkeypatch):
    monkeypatch.setattr(fixed_point, "cpu_flags", lambda: frozenset({"avx2", "fma"}))
    has_integer_convolution.cache_clear()
    try:
        assert not has_integer_convolution()
        assert not FixedPoint(network(), pictures(1, 2, 16, 16)).native
    finally:
        has_integer_convolution.cache_clear()


def test_the_made_up_photograph_is_always_the_same_and_like_one():
    first, again = fixed_point.synthetic_photograph(), fixed_point.synthetic_photograph()
    assert np.array_equal(first, again) and first.dtype == np.uint8 and first.shape[2] == 3
    assert 30 < first.std() < 80 and 100 < first.mean() < 155
    flat = first.astype(float) - first.mean(axis=(0, 1))
    nearby = (flat[:, 1:] * flat[:, :-1]).mean() / flat.var()
    assert 0.7 < nearby < 0.99
