"""A trained `Subpixel` network in 8-bit integers: the quickest that a CPU computes.

Every number is an integer times a power of two, so sums of products are exact, in int32 as in float32 (below 2^24):
a processor with instructions for integers and one without, or a GPU, compute the same. Source of the arithmetic:
B. Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*, CVPR
2018.
"""

from functools import cache
from typing import NamedTuple

import cv2
import numba
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

from model.hourglass import reflect_to_multiple
from model.subpixel import Subpixel
from utils.hardware import cpu_flags

ZERO = 128
"""The byte that stands for 0 where there are negative numbers."""
LARGEST_SUM = 2.0**23  # of integers; with a bias that is no larger, float32 holds every sum exactly
LEAST_SCALE = 2.0**-14  # of sums that become bytes; oneDNN rounds finer ones twice
FINEST = 7  # powers of two by which a step may be finer than one that saturates nothing
EXAMPLE_SIDE = 128


class Format(NamedTuple):
    """Numbers `n * 2 ** exponent`, n from -128 to 127, or unsigned from 0 to 255."""

    exponent: int
    signed: bool

    @property
    def zero(self) -> int:
        """The byte that stands for 0."""
        return ZERO if self.signed else 0

    @property
    def factor(self) -> np.float32:
        """From a value to its integer."""
        return np.float32(2.0**-self.exponent)


def fitting_format(values: Tensor, signed: bool) -> Format:
    """The format whose rounding and saturation of `values` has the least squared error.

    Raises FloatingPointError for values that are not finite.
    """
    values = values.detach().flatten().cpu().double()  # not every device has float64
    if not values.isfinite().all():
        raise FloatingPointError("the network's output is not finite: its weights are broken")
    lowest, highest = (-128, 127) if signed else (0, 255)
    coarsest = int(torch.log2(values.abs().max().clamp_min(1e-12) / highest).ceil())

    def error(exponent: int) -> float:
        integers = (values * 2.0**-exponent).round().clamp(lowest, highest)
        return (integers * 2.0**exponent - values).square().sum().item()

    return Format(min(range(coarsest, coarsest - FINEST - 1, -1), key=error), signed)


class Convolution:
    """A convolution with same-size padding from one format to another; an unsigned one stands after a ReLU.

    weight  (outputs, inputs, K, K), K odd; bias (outputs,) or None
    target  None: float32, not rounded
    native  compute on bytes, with the processor's instructions for them; or else on integers that float32 holds
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, source: Format, target: Format | None, native: bool):
        device, weight = weight.device, weight.detach().cpu().double()
        unit = target.exponent if target else 0
        magnitude = weight.flatten(1).abs().clamp_min(1e-30)
        largest = 2.0 ** (7 if source.signed else 8)  # of the integers that come in
        steps = torch.stack((magnitude.amax(1) / 127, magnitude.sum(1) * largest / LARGEST_SUM))
        own = torch.log2(steps.amax(0)).ceil()  # one power of two for each output
        if target is not None:
            own = own.clamp_min(unit - source.exponent + np.log2(LEAST_SCALE))
        scale = torch.exp2(own + source.exponent - unit)
        bias = torch.zeros_like(scale) if bias is None else bias.detach().cpu().double() * 2.0**-unit
        self.bias = ((bias / scale).round() * scale).float().to(device)  # a multiple of what the sums are a multiple of
        self.scale, self.source, self.target, self.native = scale.float().to(device), source, target, native
        self.padding = [weight.shape[-1] // 2] * 2
        self._integers = (weight * torch.exp2(-own).view(-1, 1, 1, 1)).round().to(torch.int8)
        self.weight = self._laid_out().to(device)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "weight": None}  # as oneDNN lays it out it cannot be pickled

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = state
        self.weight = self._laid_out().to(self.bias.device)

    def _laid_out(self) -> Tensor:
        if not self.native:
            return self._integers.float().contiguous(memory_format=torch.channels_last)
        shape = (self.scale, 1.0, self.source.zero, [1, 1], self.padding, [1, 1], 1, None)
        return torch.ops.onednn.qconv_prepack(self._integers, *shape)

    def __call__(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) in `source` → (N, outputs, H, W) in `target`, added to `onto` in `target` if given.

        Numbers are bytes with their format's zero where `native`, and float32 otherwise.
        """
        return self._native(x, onto) if self.native else self._exact(x, onto)

    def _native(self, x: Tensor, onto: Tensor | None) -> Tensor:
        zero, kind = (self.target.zero, torch.uint8) if self.target else (0, torch.float32)
        zeros = torch.zeros(len(self.scale), dtype=torch.int64)
        layer = (x, 1.0, self.source.zero, self.weight, self.scale, zeros)
        shape = ([1, 1], self.padding, [1, 1], 1)
        if onto is None:
            return torch.ops.onednn.qconv2d_pointwise(*layer, self.bias, *shape, 1.0, zero, kind, "none", [], "")
        add = ("sum", 1.0, "none", [], "")
        return torch.ops.onednn.qconv2d_pointwise.binary(
            *layer, onto, self.bias, *shape, 1.0, zero, kind, 1.0, zero, *add
        )

    def _exact(self, x: Tensor, onto: Tensor | None) -> Tensor:
        sums = conv2d(x, self.weight, padding=self.padding)
        if sums.device.type != "cpu":
            sums.round_()  # of what a GPU's quicker algorithms leave behind the point
        y = sums.mul_(self.scale.view(-1, 1, 1)).add_(self.bias.view(-1, 1, 1))
        if onto is not None:
            y.add_(onto)
        if self.target is None:
            return y
        return y.round_().clamp_(*((-128, 127) if self.target.signed else (0, 255)))


class FixedPoint:
    """`network` in 8-bit integers: called with (N, inputs, H, W) float, it returns (N, outputs, H, W) float32.

    example  (N, inputs, H, W) of what it will be given; the formats fit what it makes of it
    target   (N, outputs, H, W), what it should make of the example, for a network that will be differentiated: the
             gradient of the squared error is computed in integers as well, straight through the rounding
    native   see `Convolution`; None: where the processor has the instructions
    It has the network's `reach` and stays on its device. Raises FloatingPointError where what the weights make of the
    example is not finite.
    """

    def __init__(self, network: Subpixel, example: Tensor, target: Tensor | None = None, native: bool | None = None):
        self.receptive_radius = network.receptive_radius
        self.device, self.on_cpu = example.device, example.device.type == "cpu"
        self.native = (self.on_cpu and has_integer_convolution()) if native is None else native
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(self.device.type, enabled=False):
            self._build(network, example.clone(), target)

    def __deepcopy__(self, memo: dict) -> "FixedPoint":
        return self  # nothing in it ever changes

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return _Differentiable.apply(reflect_to_multiple(x.float(), 2), self)[..., :height, :width]

    def _build(self, network: Subpixel, example: Tensor, target: Tensor | None) -> None:
        def weights(convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:  # without the past that forbids a gradient
            return convolution.weight.detach().clone(), convolution.bias.detach().clone()

        first, last, end = (weights(network.get_submodule(name)) for name in ("inConv.0", "outConv.0", "outConv.2"))
        blocks = [(weights(block.conv[0]), weights(block.conv[2])) for block in network.residual]
        inputs = pixel_unshuffle(reflect_to_multiple(example, 2), 2)
        stream = [torch.relu(conv2d(inputs, *first, padding=1)).requires_grad_()]
        hidden = []
        for opening, closing in blocks:
            hidden.append(torch.relu(conv2d(stream[-1], *opening, padding=1)))
            stream.append(stream[-1] + conv2d(hidden[-1], *closing, padding=1))
        hidden.append(torch.relu(conv2d(stream[-1], *last, padding=1)))

        def layer(weight: Tensor, bias: Tensor | None, source: Format, to: Format | None) -> Convolution:
            return Convolution(weight, bias, source, to, self.native)

        self.input, between = fitting_format(inputs, True), fitting_format(_joined(stream), True)
        inside = [fitting_format(values, False) for values in hidden]
        self._first = layer(*first, self.input, between)
        self._blocks = [
            (layer(*opening, between, form), layer(*closing, form, between))
            for (opening, closing), form in zip(blocks, inside[:-1], strict=True)
        ]
        self._last = layer(*last, between, inside[-1])
        self._end = layer(*end, inside[-1], None)
        self.gradient = None
        if target is None:
            return

        wanted = pixel_unshuffle(reflect_to_multiple(target, 2), 2)
        error = conv2d(hidden[-1], *end) - wanted
        gradients = torch.autograd.grad(error.square().sum(), stream + hidden)
        self.gradient, back = fitting_format(2 * error, True), fitting_format(_joined(gradients[: len(stream)]), True)
        before = [
            fitting_format(gradient * (values > 0), True)
            for gradient, values in zip(gradients[len(stream) :], hidden, strict=True)
        ]
        self._end_back = layer(_transposed(end), None, self.gradient, before[-1])
        self._last_back = layer(_transposed(last), None, before[-1], back)
        self._blocks_back = [
            (layer(_transposed(closing), None, back, form), layer(_transposed(opening), None, form, back))
            for (opening, closing), form in zip(blocks, before[:-1], strict=True)
        ]
        self._first_back = layer(_transposed(first), None, back, None)

    def numbers(self, packed: np.ndarray) -> Tensor:
        """Signed bytes (N, H / 2, W / 2, 4 C), phases of two rows and columns innermost, as `forward` takes them."""
        x = torch.from_numpy(packed).permute(0, 3, 1, 2)
        return x if self.native else x.float() - ZERO

    def forward(self, x: Tensor, active: list[Tensor] | None = None) -> Tensor:
        """`numbers` in `input` → (N, 4 · outputs, H / 2, W / 2) float32, both channels last.

        What each ReLU let through is added to `active`, in order, where that is asked for.
        """
        with torch.autocast(x.device.type, enabled=False):
            stream = self._first(x).clamp_(min=ZERO if self.native else 0)
            if active is not None:
                active.append(stream - ZERO if self.native else stream.clone())
            for opening, closing in self._blocks:
                hidden = opening(stream)
                stream = closing(hidden, onto=stream)
                if active is not None:
                    active.append(hidden)
            hidden = self._last(stream)
            if active is not None:
                active.append(hidden)
            return self._end(hidden)

    def backward(self, gradient: Tensor, active: list[Tensor]) -> Tensor:
        """Gradients by the output, `numbers` in `gradient` → by the input (N, 4 · inputs, H / 2, W / 2) float32."""
        *inside, last = active[1:]
        with torch.autocast(gradient.device.type, enabled=False):
            back = self._last_back(self._masked(self._end_back(gradient), last))
            for (closing, opening), hidden in zip(reversed(self._blocks_back), reversed(inside), strict=True):
                back = opening(self._masked(closing(back), hidden), onto=back)
            return self._first_back(self._masked(back, active[0]))

    def _masked(self, gradient: Tensor, active: Tensor) -> Tensor:
        if self.native:
            _mask(*(x.permute(0, 2, 3, 1).view(-1).numpy() for x in (gradient, active)))
            return gradient
        return gradient.mul_(active > 0)

    def pack(self, x: Tensor, form: Format) -> Tensor:
        """(N, C, H, W) float32, even sides → `numbers` in `form`."""
        if not self.on_cpu:
            x = (pixel_unshuffle(x, 2) * form.factor.item()).round_().clamp_(-128, 127)
            return x.contiguous(memory_format=torch.channels_last)
        count, channels, height, width = x.shape
        packed = np.empty((count, height // 2, width // 2, 4 * channels), np.uint8)
        _pack(x.contiguous().numpy(), form.factor, packed)
        return self.numbers(packed)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, network: FixedPoint) -> Tensor:
        context.network, context.active = network, [] if x.requires_grad else None
        return pixel_shuffle(network.forward(network.pack(x, network.input), context.active), 2)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        network = context.network
        return pixel_shuffle(network.backward(network.pack(gradient, network.gradient), context.active), 2), None


def _joined(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([values.flatten() for values in tensors])


def _transposed(weights: tuple[Tensor, Tensor]) -> Tensor:
    """The weight of the convolution that carries gradients back."""
    return weights[0].transpose(0, 1).flip(2, 3)


@numba.njit(cache=True)
def signed_byte(value, factor):
    level = np.rint(value * factor) + np.float32(ZERO)
    return np.uint8(min(max(level, np.float32(0)), np.float32(255)))


# One thread packs: numba's simplest pool forbids that two threads of a program, restoring, run something in parallel.


@numba.njit(cache=True, nogil=True)
def _pack(planes, factor, packed):
    count, rows, columns = packed.shape[:3]
    for n in range(count):
        for y in range(rows):
            for channel in range(planes.shape[1]):
                for phase in range(4):
                    source = planes[n, channel, 2 * y + phase // 2]
                    for x in range(columns):
                        packed[n, y, x, 4 * channel + phase] = signed_byte(source[2 * x + phase % 2], factor)


@numba.njit(parallel=True, cache=True)
def _mask(gradient, active):
    for i in numba.prange(len(gradient)):
        gradient[i] = gradient[i] if active[i] else np.uint8(ZERO)


def synthetic_photograph() -> np.ndarray:
    """(H, W, 3) BGR uint8: noise with a photograph's spectrum, always the same."""
    random = np.random.default_rng(0)
    gray, colour = (np.zeros((EXAMPLE_SIDE, EXAMPLE_SIDE, depth), np.float32) for depth in (1, 3))
    for octave in range(6):
        for picture, strength in ((gray, 25.0), (colour, 12.0)):
            noise = random.normal(size=picture.shape).astype(np.float32)
            sigma = 0.5 * 2**octave
            blurred = cv2.GaussianBlur(noise, (0, 0), sigma).reshape(picture.shape)
            picture += strength / blurred.std() * blurred
    return np.clip(np.rint(128 + gray + colour), 0, 255).astype(np.uint8)


@cache
def has_integer_convolution() -> bool:
    """Whether torch convolves bytes here, quickly (VNNI) and as `Convolution` has it."""
    if not {"avx512_vnni", "avx_vnni"} & cpu_flags():
        return False
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 64, 3, 3, generator=random)
    packed = torch.randint(0, 256, (1, 64, 32, 32), generator=random).to(torch.uint8)
    packed, numbers = packed.contiguous(memory_format=torch.channels_last), packed.float() - ZERO
    source = Format(0, True)
    try:
        for target in (None, Format(6, True)):  # far from saturation, which would hide errors
            native, exact = (Convolution(weight, weight[:, 0, 0, 0], source, target, way) for way in (True, False))
            zero = target.zero if target else 0
            if not torch.equal(native(packed).float() - zero, exact(numbers)):
                return False
        return torch.equal(native(packed, onto=packed.clone()).float() - zero, exact(numbers, onto=numbers))
    except (AttributeError, RuntimeError, TypeError):  # torch without oneDNN, or with another signature
        return False
