"""Int8 inference of a trained `Subpixel` network, and its gradient in int8: the fastest way on a CPU.

Source: B. Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*,
CVPR 2018; here every scale is a power of two, and post-training calibration chooses it.
    activations  q = clip(round(x · 2^-e) + z, 0, 255), x ≈ 2^e (q - z): one exponent e per tensor (`QuantParams`),
                 zero point z = 128 for signed tensors, 0 after a ReLU
    weights      w ≈ 2^e_o q_w, q_w in [-127, 127]: symmetric, one exponent e_o per output channel
    convolution  a = Σ q_w (q_x - z_x) in int32, y = round(a · 2^(e_o + e_x - e_y) + bias · 2^-e_y [+ residual]) clipped
    residual     sums are computed in the output's parameters, which all blocks share, before the rounding
    gradients    the backward pass is the same arithmetic with transposed weights (flipped, channels exchanged), masked
                 by the ReLUs, with exponents of its own; rounding passes gradients unchanged (straight-through)
`MAX_SUM` bounds |a|, so that float32 holds every sum exactly: processors with int8 instructions, processors without
(which convolve the same integers in float32) and GPUs return identical bits.
"""

import warnings
from functools import cache
from typing import NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

from model.hourglass import reflect_to_multiple
from model.subpixel import Subpixel
from utils.hardware import cpu_flags

ZERO_POINT = 128
"""Zero point of signed activations."""
MAX_SUM = 2.0**23  # of |a|; with a bias of at most as much, float32 (24 bits) is exact
MIN_REQUANTIZATION = 2.0**-14  # minimum factor from a to y; oneDNN rounds twice below it
EXPONENT_RANGE = 7  # exponents that calibration tries, down from the one without saturation


class QuantParams(NamedTuple):
    """Values 2^exponent · n, with n in [-128, 127] where signed, else in [0, 255]."""

    exponent: int
    signed: bool

    @property
    def zero_point(self) -> int:
        """The byte of value 0."""
        return ZERO_POINT if self.signed else 0

    @property
    def scale(self) -> np.float32:
        """Factor from value to integer, 2^-exponent."""
        return np.float32(2.0**-self.exponent)

    @property
    def limits(self) -> tuple[int, int]:
        """Least and largest n."""
        return (-128, 127) if self.signed else (0, 255)


def calibrate(values: Tensor, signed: bool) -> QuantParams:
    """The parameters of least squared quantization error on `values`, saturation included.

    Raises FloatingPointError for values that are not finite.
    """
    values = values.detach().flatten().cpu().double()  # not every device has float64
    if not values.isfinite().all():
        raise FloatingPointError("the network's output is not finite: its weights are broken")
    limits = QuantParams(0, signed).limits
    coarsest = int(torch.log2(values.abs().max().clamp_min(1e-12) / limits[1]).ceil())

    def error(exponent: int) -> float:
        integers = (values * 2.0**-exponent).round().clamp(*limits)
        return (integers * 2.0**exponent - values).square().sum().item()

    return QuantParams(min(range(coarsest, coarsest - EXPONENT_RANGE - 1, -1), key=error), signed)


class Convolution:
    """A quantized convolution of stride 1 with same-size padding; a ReLU is fused where `target` is unsigned.

    weight          (outputs, inputs, K, K), K odd; bias (outputs,) or None
    source, target  parameters of input and output; target None: float32 output
    native          True: oneDNN's int8 convolution of bytes; False: a float32 convolution of the same integers
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, source: QuantParams, target: QuantParams | None, native: bool
    ):
        device, weight = weight.device, weight.detach().cpu().double()
        unit = target.exponent if target else 0
        magnitude = weight.flatten(1).abs().clamp_min(1e-30)
        largest_input = 2.0 ** (7 if source.signed else 8)
        steps = torch.stack((magnitude.amax(1) / 127, magnitude.sum(1) * largest_input / MAX_SUM))
        exponents = torch.log2(steps.amax(0)).ceil()  # e_o, (outputs,)
        if target is not None:
            exponents = exponents.clamp_min(unit - source.exponent + np.log2(MIN_REQUANTIZATION))
        scale = torch.exp2(exponents + source.exponent - unit)
        bias = torch.zeros_like(scale) if bias is None else bias.detach().cpu().double() * 2.0**-unit
        self.bias = ((bias / scale).round() * scale).float().to(device)  # a multiple of the step of the sums: exact
        self.scale, self.source, self.target, self.native = scale.float().to(device), source, target, native
        self.padding = [weight.shape[-1] // 2] * 2
        self._integers = (weight * torch.exp2(-exponents).view(-1, 1, 1, 1)).round().to(torch.int8)
        self.weight = self._packed_weight().to(device)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "weight": None}  # oneDNN's weight layout cannot be pickled

    def __setstate__(self, state: dict) -> None:
        self.__dict__ = state
        self.weight = self._packed_weight().to(self.bias.device)

    def _packed_weight(self) -> Tensor:
        if not self.native:
            return self._integers.float().contiguous(memory_format=torch.channels_last)
        shape = (self.scale, 1.0, self.source.zero_point, [1, 1], self.padding, [1, 1], 1, None)
        return torch.ops.onednn.qconv_prepack(self._integers, *shape)

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """(N, inputs, H, W) in `source` → (N, outputs, H, W) in `target`, plus `residual` in `target`.

        Tensors are bytes q where `native`, otherwise the integers q - z in float32.
        """
        return self._in_int8(x, residual) if self.native else self._in_float32(x, residual)

    def _in_int8(self, x: Tensor, residual: Tensor | None) -> Tensor:
        zero, dtype = (self.target.zero_point, torch.uint8) if self.target else (0, torch.float32)
        zeros = torch.zeros(len(self.scale), dtype=torch.int64)
        layer = (x, 1.0, self.source.zero_point, self.weight, self.scale, zeros)
        shape = ([1, 1], self.padding, [1, 1], 1)
        if residual is None:
            return torch.ops.onednn.qconv2d_pointwise(*layer, self.bias, *shape, 1.0, zero, dtype, "none", [], "")
        add = ("sum", 1.0, "none", [], "")
        return torch.ops.onednn.qconv2d_pointwise.binary(
            *layer, residual, self.bias, *shape, 1.0, zero, dtype, 1.0, zero, *add
        )

    def _in_float32(self, x: Tensor, residual: Tensor | None) -> Tensor:
        sums = conv2d(x, self.weight, padding=self.padding)
        if sums.device.type != "cpu":
            sums.round_()  # fast GPU algorithms (Winograd, FFT) are not exact
        y = sums.mul_(self.scale.view(-1, 1, 1)).add_(self.bias.view(-1, 1, 1))
        if residual is not None:
            y.add_(residual)
        return y if self.target is None else y.round_().clamp_(*self.target.limits)


class FixedPoint:
    """`network` quantized to int8: (N, inputs, H, W) float → (N, outputs, H, W) float32, differentiable with `target`.

    calibration_batch  (N, inputs, H, W), typical inputs, from whose activations the parameters are calibrated
    target             (N, outputs, H, W), the desired output for it: calibrates the gradient of the squared error
    native             see `Convolution`; None: where the processor has int8 instructions
    It stays on the batch's device. Raises FloatingPointError where activations are not finite.
    """

    def __init__(
        self, network: Subpixel, calibration_batch: Tensor, target: Tensor | None = None, native: bool | None = None
    ):
        self.receptive_radius = network.receptive_radius
        self.device = calibration_batch.device
        self.on_cpu = self.device.type == "cpu"
        self.native = (self.on_cpu and has_integer_convolution()) if native is None else native
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(self.device.type, enabled=False):
            self._build(network, calibration_batch.clone(), target)

    def __deepcopy__(self, memo: dict) -> "FixedPoint":
        return self  # immutable

    def __call__(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return _Differentiable.apply(reflect_to_multiple(x.float(), 2), self)[..., :height, :width]

    def _build(self, network: Subpixel, calibration_batch: Tensor, target: Tensor | None) -> None:
        def weights(convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:  # cloned: no inference tensors in autograd
            return convolution.weight.detach().clone(), convolution.bias.detach().clone()

        first, last, end = (weights(network.get_submodule(name)) for name in ("inConv.0", "outConv.0", "outConv.2"))
        blocks = [(weights(block.conv[0]), weights(block.conv[2])) for block in network.residual]
        inputs = pixel_unshuffle(reflect_to_multiple(calibration_batch, 2), 2)
        stream = [torch.relu(conv2d(inputs, *first, padding=1)).requires_grad_()]
        hidden = []
        for opening, closing in blocks:
            hidden.append(torch.relu(conv2d(stream[-1], *opening, padding=1)))
            stream.append(stream[-1] + conv2d(hidden[-1], *closing, padding=1))
        hidden.append(torch.relu(conv2d(stream[-1], *last, padding=1)))

        def layer(weight: Tensor, bias: Tensor | None, source: QuantParams, to: QuantParams | None) -> Convolution:
            return Convolution(weight, bias, source, to, self.native)

        self.input, shared = calibrate(inputs, True), calibrate(_flat(stream), True)
        inside = [calibrate(values, False) for values in hidden]
        self._first = layer(*first, self.input, shared)
        self._blocks = [
            (layer(*opening, shared, params), layer(*closing, params, shared))
            for (opening, closing), params in zip(blocks, inside[:-1], strict=True)
        ]
        self._last = layer(*last, shared, inside[-1])
        self._end = layer(*end, inside[-1], None)
        self.gradient = None
        if target is None:
            return

        error = conv2d(hidden[-1], *end) - pixel_unshuffle(reflect_to_multiple(target, 2), 2)
        gradients = torch.autograd.grad(error.square().sum(), stream + hidden)
        self.gradient, shared = calibrate(2 * error, True), calibrate(_flat(gradients[: len(stream)]), True)
        inside = [
            calibrate(gradient * (values > 0), True)
            for gradient, values in zip(gradients[len(stream) :], hidden, strict=True)
        ]
        self._end_back = layer(_transposed(end), None, self.gradient, inside[-1])
        self._last_back = layer(_transposed(last), None, inside[-1], shared)
        self._blocks_back = [
            (layer(_transposed(closing), None, shared, params), layer(_transposed(opening), None, params, shared))
            for (opening, closing), params in zip(blocks, inside[:-1], strict=True)
        ]
        self._first_back = layer(_transposed(first), None, shared, None)

    def from_bytes(self, packed: np.ndarray) -> Tensor:
        """Signed bytes (N, H / 2, W / 2, 4 C), phases innermost → `forward`'s input (N, 4 C, H / 2, W / 2)."""
        x = torch.from_numpy(packed).permute(0, 3, 1, 2)
        return x if self.native else x.float() - ZERO_POINT

    def forward(self, x: Tensor, activations: list[Tensor] | None = None) -> Tensor:
        """Quantized (N, 4 · inputs, H / 2, W / 2) in `input` → (N, 4 · outputs, H / 2, W / 2) float32, channels last.

        The output of every ReLU is appended to `activations`, for `backward`.
        """
        with torch.autocast(x.device.type, enabled=False):
            stream = self._first(x).clamp_(min=ZERO_POINT if self.native else 0)
            if activations is not None:
                activations.append(stream - ZERO_POINT if self.native else stream.clone())
            for opening, closing in self._blocks:
                hidden = opening(stream)
                stream = closing(hidden, residual=stream)
                if activations is not None:
                    activations.append(hidden)
            hidden = self._last(stream)
            if activations is not None:
                activations.append(hidden)
            return self._end(hidden)

    def backward(self, gradient: Tensor, activations: list[Tensor]) -> Tensor:
        """Gradient of the output, quantized in `gradient`, → of the input, (N, 4 · inputs, H / 2, W / 2) float32."""
        *inside, last = activations[1:]
        with torch.autocast(gradient.device.type, enabled=False):
            back = self._last_back(self._masked(self._end_back(gradient), last))
            for (closing, opening), hidden in zip(reversed(self._blocks_back), reversed(inside), strict=True):
                back = opening(self._masked(closing(back), hidden), residual=back)
            return self._first_back(self._masked(back, activations[0]))

    def _masked(self, gradient: Tensor, activation: Tensor) -> Tensor:
        if self.native:
            _mask(*(x.permute(0, 2, 3, 1).view(-1).numpy() for x in (gradient, activation)))
            return gradient
        return gradient.mul_(activation > 0)

    def quantize(self, x: Tensor, params: QuantParams) -> Tensor:
        """(N, C, H, W) float32, even sides → (N, 4 C, H / 2, W / 2) quantized in the signed `params`."""
        if not self.on_cpu:
            x = (pixel_unshuffle(x, 2) * params.scale.item()).round_().clamp_(*params.limits)
            return x.contiguous(memory_format=torch.channels_last)
        count, channels, height, width = x.shape
        packed = np.empty((count, height // 2, width // 2, 4 * channels), np.uint8)
        _pack(x.contiguous().numpy(), params.scale, packed)
        return self.from_bytes(packed)


class _Differentiable(torch.autograd.Function):
    @staticmethod
    def forward(context, x: Tensor, network: FixedPoint) -> Tensor:
        context.network, context.activations = network, [] if x.requires_grad else None
        return pixel_shuffle(network.forward(network.quantize(x, network.input), context.activations), 2)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        network = context.network
        quantized = network.quantize(gradient, network.gradient)
        return pixel_shuffle(network.backward(quantized, context.activations), 2), None


def _flat(tensors: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([values.flatten() for values in tensors])


def _transposed(weights: tuple[Tensor, Tensor]) -> Tensor:
    """Weights of the transposed convolution."""
    return weights[0].transpose(0, 1).flip(2, 3)


@numba.njit(cache=True)
def signed_byte(value, scale):
    level = np.rint(value * scale) + np.float32(ZERO_POINT)
    return np.uint8(min(max(level, np.float32(0)), np.float32(255)))


# Serial: numba's workqueue layer aborts when two threads, each restoring an image, enter a parallel loop at once.


@numba.njit(cache=True, nogil=True)
def _pack(planes, scale, packed):
    count, rows, columns = packed.shape[:3]
    for n in range(count):
        for y in range(rows):
            for channel in range(planes.shape[1]):
                for phase in range(4):
                    source = planes[n, channel, 2 * y + phase // 2]
                    for x in range(columns):
                        packed[n, y, x, 4 * channel + phase] = signed_byte(source[2 * x + phase % 2], scale)


@numba.njit(parallel=True, cache=True, nogil=True)
def _mask(gradient, activation):
    for i in numba.prange(len(gradient)):
        gradient[i] = gradient[i] if activation[i] else np.uint8(ZERO_POINT)


@cache
def has_integer_convolution() -> bool:
    """Whether this processor has VNNI and torch's int8 convolution is exact on it; warns of VNNI without the latter."""
    if not {"avx512_vnni", "avx_vnni"} & cpu_flags():
        return False
    if _int8_is_exact():
        return True
    reason = "this processor has VNNI, but torch's int8 convolution is not available"
    warnings.warn(f"{reason}: running in floating point, at about a third of the speed", stacklevel=2)
    return False


def _int8_is_exact() -> bool:
    """Whether oneDNN's int8 convolution returns the bits of the float32 emulation."""
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 64, 3, 3, generator=random)
    packed = torch.randint(0, 256, (1, 64, 32, 32), generator=random).to(torch.uint8)
    packed, integers = packed.contiguous(memory_format=torch.channels_last), packed.float() - ZERO_POINT
    source, target = QuantParams(0, True), QuantParams(6, True)  # far from saturation, which would hide errors
    try:
        plain = [Convolution(weight, weight[:, 0, 0, 0], source, None, native) for native in (True, False)]
        native, emulated = (Convolution(weight, weight[:, 0, 0, 0], source, target, way) for way in (True, False))
        return (
            torch.equal(plain[0](packed), plain[1](integers))
            and torch.equal(native(packed).float() - ZERO_POINT, emulated(integers))
            and torch.equal(
                native(packed, residual=packed.clone()).float() - ZERO_POINT, emulated(integers, residual=integers)
            )
        )
    except (AttributeError, RuntimeError, TypeError):  # torch without oneDNN, or with another signature
        return False
