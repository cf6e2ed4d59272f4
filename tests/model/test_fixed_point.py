"""Int8 inference: exact arithmetic, small quantization error, identical bits on every kind of processor."""

import pickle
import warnings

import pytest
import torch

from model import fixed_point
from model.fixed_point import Convolution, FixedPoint, QuantParams, calibrate, has_integer_convolution
from model.subpixel import Subpixel
from utils.hardware import cpu_flags

pytestmark = pytest.mark.processor

NATIVE = has_integer_convolution()
WAYS = sorted({False, NATIVE})


def network(inputs=2, width=8, blocks=3):
    torch.manual_seed(0)
    return Subpixel(inputs, 3, width, blocks).requires_grad_(False)


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_calibration_minimises_the_quantization_error():
    assert calibrate(torch.linspace(-1, 1, 1001), True).exponent == -7
    assert calibrate(torch.linspace(0, 1, 1001), False).exponent == -8
    normal = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    normal = normal.clamp(-3.9, 3.9)
    normal[0] = 5  # saturates, which keeps the precision of the other values
    params = calibrate(normal, True)
    assert params == QuantParams(-5, True) and params.zero_point == 128 and params.scale == 32
    assert calibrate(torch.zeros(8), True).scale > 0


@pytest.mark.parametrize("native", WAYS)
def test_a_convolution_is_exact_up_to_its_last_rounding(native):
    weight = torch.randint(-127, 128, (6, 4, 3, 3), generator=torch.Generator().manual_seed(0)) / 64
    bias = torch.arange(6) / 8
    bytes_ = torch.randint(0, 256, (2, 4, 9, 7), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    bytes_ = bytes_.contiguous(memory_format=torch.channels_last)
    source, target = QuantParams(-6, True), QuantParams(-2, True)
    quantized = bytes_ if native else bytes_.float() - 128
    expected = torch.conv2d((bytes_.double() - 128) / 64, weight.double(), bias.double(), padding=1)
    found = Convolution(weight, bias, source, None, native)(quantized)
    assert torch.equal(found.double(), expected)
    rounded = Convolution(weight, bias, source, target, native)(quantized).double() - (128 if native else 0)
    assert torch.equal(rounded, (expected * 4).round().clamp(-128, 127))
    positive = Convolution(weight, bias, source, QuantParams(-2, False), native)(quantized).double()
    assert torch.equal(positive, (expected * 4).round().clamp(0, 255))


@pytest.mark.parametrize(("channels", "size"), [(16, 1e-7), (16, 1.0), (256, 1.0)])
def test_tiny_weights_and_many_channels_are_exact(channels, size):
    weight = size * (0.5 + torch.rand(16, channels, 3, 3, generator=torch.Generator().manual_seed(0)))
    bytes_ = torch.randint(200, 256, (1, channels, 24, 24), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    bytes_, source = bytes_.contiguous(memory_format=torch.channels_last), QuantParams(-8, False)
    for target in (None, QuantParams(-1, True)):
        native, exact = (Convolution(weight, weight[:, 0, 0, 0], source, target, way) for way in (NATIVE, False))
        zero = 128 if target and NATIVE else 0
        assert torch.equal(native(bytes_ if NATIVE else bytes_.float()).float() - zero, exact(bytes_.float()))


@pytest.mark.parametrize("native", WAYS)
def test_a_quantized_originalcan_be_pickled(native):
    quantized, x = FixedPoint(network(), images(1, 2, 16, 16), native=native), images(1, 2, 8, 8)
    assert torch.equal(pickle.loads(pickle.dumps(quantized))(x), quantized(x))


@pytest.mark.parametrize("native", WAYS)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 10), (32, 32)])
def test_outputs_are_close_to_those_of_the_float32_network(native, height, width):
    original, x = network(), images(2, 2, height, width)
    found = FixedPoint(original, images(1, 2, 32, 32), native=native)(x)
    expected = original(x)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert (found - expected).square().mean() < 1e-3 * expected.var(unbiased=False).clamp_min(0.01)


@pytest.mark.parametrize("native", WAYS)
def test_gradients_are_close_to_those_of_the_float32_network(native):
    original, batch, target = network(), images(1, 2, 32, 32), images(1, 3, 32, 32) / 4
    found = FixedPoint(original, batch, target, native)

    def gradient(restore):
        x = images(1, 2, 24, 31).requires_grad_()
        return torch.autograd.grad((restore(x) - target[..., :24, :31]).square().sum(), x)[0].flatten()

    expected = gradient(original)
    assert torch.corrcoef(torch.stack((gradient(found), expected)))[0, 1] > 0.98
    assert (gradient(found) @ expected / expected.square().sum()).item() == pytest.approx(1, abs=0.03)


def test_int8_instructions_and_their_emulation_return_identical_bits():
    original, batch, target = network(inputs=4, width=16), images(1, 4, 32, 32), images(1, 3, 32, 32)
    ways = [FixedPoint(original, batch, target, native) for native in (NATIVE, False)]
    outputs, gradients = [], []
    for way in ways:
        x = images(2, 4, 40, 54).requires_grad_()
        outputs.append(way(x))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), x)[0])
    assert torch.equal(*outputs) and torch.equal(*gradients)
    assert gradients[0].std() > 0


def test_quantizing_with_torch_and_with_numba_returns_identical_bits():
    batch, target = images(1, 2, 16, 16), images(1, 3, 16, 16)
    outputs, gradients = [], []
    for on_cpu in (True, False):
        quantized = FixedPoint(network(), batch, target, native=False)
        quantized.on_cpu = on_cpu
        x = (3 * images(2, 2, 12, 10)).requires_grad_()
        outputs.append(quantized(x))
        gradients.append(torch.autograd.grad(outputs[-1].square().sum(), x)[0])
    assert torch.equal(*outputs) and torch.equal(*gradients)


def test_autocast_and_inference_mode_do_not_change_the_output():
    x, original = images(1, 2, 16, 16), network()
    outside = FixedPoint(original, x, native=False)(x)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = FixedPoint(original, x, native=False)(x)
        made_inside = FixedPoint(network(), x, x.expand(-1, 2, -1, -1)[:, [0, 1, 0]], native=False)(x)
    assert torch.equal(inside, outside) and torch.equal(made_inside, outside)


@pytest.fixture
def probe_anew():
    """`has_integer_convolution` probes again in this test and after it."""
    has_integer_convolution.cache_clear()
    yield
    has_integer_convolution.cache_clear()


def test_a_processor_without_vnni_runs_the_emulation(monkeypatch, probe_anew):
    monkeypatch.setattr(fixed_point, "cpu_flags", lambda: frozenset({"avx2", "fma"}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not has_integer_convolution()
    assert not FixedPoint(network(), images(1, 2, 16, 16)).native


def test_every_processor_with_vnni_has_the_int8_convolution():
    """The speed depends on it: a torch that loses it fails here."""
    assert has_integer_convolution() == bool({"avx512_vnni", "avx_vnni"} & cpu_flags())


@pytest.mark.parametrize("failure", [RuntimeError, AttributeError, TypeError, None])
def test_vnni_without_the_int8_convolution_is_warned_of_once(monkeypatch, probe_anew, failure):
    """Without the operator, with another signature of it, and with wrong results of it."""

    def convolution(self, x, residual):
        if failure:
            raise failure("no such operator")
        return self._in_float32(x.float(), residual) + 1

    monkeypatch.setattr(fixed_point, "cpu_flags", lambda: frozenset({"avx2", "avx512_vnni"}))
    monkeypatch.setattr(Convolution, "_packed_weight", lambda self: self._integers.float())
    monkeypatch.setattr(Convolution, "_in_int8", convolution)
    with pytest.warns(UserWarning, match="has VNNI, but torch's int8 convolution is not available") as caught:
        assert not FixedPoint(network(), images(1, 2, 16, 16)).native
        assert not FixedPoint(network(), images(1, 2, 16, 16)).native
    assert len(caught) == 1
