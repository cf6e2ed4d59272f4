"""ResHalf: colour photograph → binary halftone → colour photograph (Xia et al., ICCV 2021), and InverseHalf."""

import json
import zlib
from collections.abc import Callable
from copy import deepcopy
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from model.fixed_point import FixedPoint, has_integer_convolution
from model.guidance import guided_halftone
from model.hourglass import HourGlass, keep_variance, zero_last_layer
from model.noise import KINDS, noise_channel
from model.pilot import UNKNOWN, detect_origin
from model.prior import Prior
from model.quantizer import quantize
from model.subpixel import Subpixel
from utils.pixels import to_tensor

DECODERS = ("hourglass", "subpixel")
BEST_ROUNDS = 8
"""Default rounds of a search that queries the decoder itself."""
PROXY_ROUNDS = 20
"""Rounds that query the proxy before those."""
CALIBRATION_SIDE = 128


class Encoded(NamedTuple):
    """continuous (N, 1, H, W), unbounded, before the quantizer; halftone (N, 1, H, W) in {-1, 1}."""

    continuous: Tensor
    halftone: Tensor


class Output(NamedTuple):
    """`Encoded` and the restoration, (N, 3, H, W) BGR, unclipped."""

    continuous: Tensor
    halftone: Tensor
    restored: Tensor


class ResHalf(nn.Module):
    """Encoder and decoder. Photographs are (N, 3, H, W) BGR in [-1, 1], any H, W ≥ 1.

    width    channels of both hourglasses at full resolution; 64 is the paper's network
    prior    None: the paper's network, whose condition (the encoder's fourth input channel) is noise. Otherwise the
             condition is the prior's classical halftone; the encoder corrects it (prior.correction) or returns it.
    levels   number of times both hourglasses halve the resolution; 3 is the paper's network. With a prior, the colour
             of a pixel depends on nearby dots only: one level restores as well as three at half the cost.
    decoder  "hourglass", or "subpixel": a network at half resolution with `blocks` residual blocks
    noise    "white" (the paper) or "blue": the noise channel of a network without a prior (model.noise)
    A prior with guidance adds a proxy, a small decoder with weights of its own. The halftone search queries it for the
    gradient of the restoration error, so the proxy belongs to the encoder and is trained before the decoder.
    """

    def __init__(
        self,
        width: int = 64,
        prior: Prior | dict | None = None,
        levels: int = 3,
        decoder: str = "hourglass",
        blocks: int = 2,
        noise: str = "white",
    ):
        super().__init__()
        for name, value, known in (("decoder", decoder, DECODERS), ("noise", noise, KINDS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {value!r}")
        self.width, self.levels, self.blocks, self._decoder_kind, self.noise = width, levels, blocks, decoder, noise
        self.prior = Prior.from_dict(prior) if isinstance(prior, dict) else prior
        self.encoder = HourGlass(4, 1, width, levels) if self.prior is None or self.prior.correction else None
        inputs = 1 if self.prior is None else 4
        subpixel = decoder == "subpixel"
        self.decoder = Subpixel(inputs, 3, width, blocks) if subpixel else HourGlass(inputs, 3, width, levels)
        guided = self.prior is not None and self.prior.guidance > 0
        self.proxy = Subpixel(inputs, 3, self.prior.proxy_width).requires_grad_(False) if guided else None
        self._int8: dict[nn.Module, tuple[object, FixedPoint]] = {}
        if self.prior is not None:
            # Torch's default initialization attenuates the signal at every layer, and the lower levels stay unused.
            # Zero-initialised output layers: the initial correction and the initial residual are 0.
            for network in filter(None, (self.encoder, self.decoder)):
                keep_variance(network)
                zero_last_layer(network)

    def arch(self) -> dict:
        """The arguments that rebuild this network, as plain values for a checkpoint."""
        prior = self.prior.as_dict() if self.prior else None
        sizes = {"width": self.width, "levels": self.levels, "decoder": self._decoder_kind, "blocks": self.blocks}
        return {"name": "ResHalf", **sizes, "noise": self.noise, "prior": prior}

    @classmethod
    def from_arch(cls, arch: dict) -> "ResHalf":
        """Build the untrained network from `arch()`; ValueError for invalid settings of the prior."""
        settings = {key: arch[key] for key in ("levels", "decoder", "blocks", "noise") if key in arch}
        return cls(arch["width"], Prior.from_dict(arch["prior"]) if arch.get("prior") else None, **settings)

    def take_proxy(self, other: "ResHalf") -> None:
        """Copy the weights of the proxy from another network's decoder if it fits, otherwise from its proxy.

        ValueError if neither is a subpixel decoder of the same shape.
        """
        sources = (other.decoder, other.proxy) if isinstance(other, ResHalf) and other.prior else ()
        sources = [network for network in sources if isinstance(network, Subpixel)]
        if not sources:
            raise ValueError("neither a proxy nor a subpixel decoder on a prior")
        shapes = _shapes(self.proxy)
        source = next((network for network in sources if _shapes(network) == shapes), sources[-1])
        try:
            self.proxy.load_state_dict(source.state_dict())
        except RuntimeError as error:
            raise ValueError(str(error).splitlines()[-1].strip()) from None

    def encode(
        self, colour: Tensor, *, seed: int | None = 0, condition: Tensor | None = None, guarded: bool = False
    ) -> Encoded:
        """Halftone photographs (N, 3, H, W).

        condition  (N, 1, H, W), the encoder's fourth channel: the classical halftone in {-1, 1}, or without a prior
                   noise of standard deviation NOISE; None computes it
        seed       of that noise (model.noise); None draws from torch's global generators (training)
        guarded    of the quantizer's gradient (model.quantizer)
        """
        if condition is None:
            condition = self.condition(colour, seed)
        if self.prior is None:
            continuous = self.encoder(torch.cat((colour, condition), dim=1))
        else:
            continuous = self.prior.beta * condition
            if self.encoder is not None:
                continuous = continuous + self.encoder(torch.cat((colour, condition), dim=1))
        return Encoded(continuous, quantize(continuous, guarded))

    def condition(self, colour: Tensor, seed: int | None = 0) -> Tensor:
        """The encoder's condition of photographs (N, 3, H, W): (N, 1, H, W); `seed` as in `encode`."""
        if self.prior is not None:
            return self._classical_halftones(colour)
        return noise_channel(self.noise, len(colour), *colour.shape[2:], seed, colour.device).to(colour.dtype)

    def decode(self, halftone: Tensor, decoder: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Restore (N, 1, H, W) in {-1, 1} to (N, 3, H, W) BGR, nominally in [-1, 1], unclipped.

        decoder  replaces this network's decoder, for example by its quantized version (`as_int8`)
        """
        decoder = decoder or self.decoder
        return decoder(halftone) if self.prior is None else self.prior.restore(decoder, halftone)

    @property
    def receptive_radius(self) -> int | None:
        """Receptive-field radius from halftone to restoration, in pixels; None where an hourglass is involved."""
        if self.encoder is not None or not isinstance(self.decoder, Subpixel):
            return None
        return self.decoder.receptive_radius + self.prior.receptive_radius

    @property
    def can_query_decoder(self) -> bool:
        """Whether the guided search can query the decoder itself: only a subpixel decoder with a guided prior."""
        return self.proxy is not None and isinstance(self.decoder, Subpixel)

    def is_quickest_as_int8(self) -> bool:
        """Whether the decoder is fastest `as_int8`: a subpixel decoder on a CPU with int8 instructions."""
        on_cpu = next(self.decoder.parameters()).device.type == "cpu"
        return self.prior is not None and isinstance(self.decoder, Subpixel) and on_cpu and has_integer_convolution()

    def as_int8(self, network: Subpixel, device: torch.device | None = None) -> FixedPoint:
        """The decoder or the proxy quantized to int8; needs a prior.

        device  where it computes; None: where the network is
        Cached until the weights or the device change. Raises FloatingPointError where activations are not finite.
        """
        device = device or next(network.parameters()).device
        key = _checksum(network), device
        cached_key, quantized = self._int8.get(network, (None, None))
        if cached_key != key:
            quantized = self._quantized(network, device)
            self._int8[network] = key, quantized
        return quantized

    def _quantized(self, network: Subpixel, device: torch.device) -> FixedPoint:
        bgr = calibration_photograph()
        colour, dots = (to_tensor(levels).to(device) for levels in (bgr, self.prior.search(bgr).halftone()))
        if next(network.parameters()).device != device:
            network = deepcopy(network).to(device)
        inputs, linear = self.prior.decoder_inputs(dots)
        return FixedPoint(network, inputs, colour - linear)

    def align_to_pilot(
        self, halftone: np.ndarray, levels: np.ndarray | None = None
    ) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Restore orientation and carrier phase of (H, W) uint8 in {0, 255} after a crop, mirror image or quarter turn.

        The halftone is transposed and a reflected row or column is prepended, as detected from the pilot
        (model/pilot.py). Returns it (H', W') and the inverse for its restoration, (H', W', 3) → (H, W, 3).
        With `levels`, an image of the same shape, these are aligned and returned instead.
        """
        found = detect_origin(halftone) if self.prior is not None and self.prior.pilot else UNKNOWN
        halftone = halftone if levels is None else levels
        if found.transposed:
            halftone = np.ascontiguousarray(halftone.T)
        if found.row or found.column:
            halftone = np.pad(halftone, ((found.row, 0), (found.column, 0)), "reflect")

        def undo(restored: np.ndarray) -> np.ndarray:
            inside = restored[found.row :, found.column :]
            return np.ascontiguousarray(inside.swapaxes(0, 1)) if found.transposed else inside

        return halftone, undo

    def forward(self, colour: Tensor, condition: Tensor | None = None) -> Output:
        """Halftone and restore, with noise from the global generator (training)."""
        encoded = self.encode(colour, seed=None, condition=condition)
        return Output(*encoded, self.decode(encoded.halftone))

    def prior_halftone(self, bgr: np.ndarray, rounds: int | None = None, best: bool = False) -> np.ndarray:
        """The halftone that the encoder receives as its condition: (H, W, 3) BGR uint8 → (H, W) uint8 in {0, 255}.

        rounds  number of queries to the proxy, if there is one; None: prior.guided_rounds
        best    after PROXY_ROUNDS, query the decoder itself, a Subpixel, in `rounds` rounds; None: BEST_ROUNDS
        A pure function of the photograph, the prior's settings and the weights of the queried network; needs a prior.
        The proxy is queried on the CPU, so that the halftone does not depend on the device; `best` uses the decoder's
        device, where another order of summation moves some dots.
        """
        if rounds is None:
            rounds = BEST_ROUNDS if best else self.prior.guided_rounds
        if self.proxy is None or rounds == 0:
            return self.prior.classical_halftone(bgr)
        proxy = self.as_int8(self.proxy, torch.device("cpu"))
        queries = [(proxy, PROXY_ROUNDS), (self.as_int8(self.decoder), rounds)] if best else [(proxy, rounds)]
        return guided_halftone(self.prior, queries, bgr)

    def prior_key(self) -> str:
        """Cache key of everything that `prior_halftone` depends on except the photograph."""
        learned = {"beta", "correction"}  # these only affect what follows the halftone
        settings = {name: value for name, value in self.prior.as_dict().items() if name not in learned}
        key = json.dumps(settings, sort_keys=True)
        if self.proxy is None:
            return key
        return f"{key} {_checksum(self.proxy):08x} integers"

    def best_key(self) -> str:
        """`prior_key` of halftones that the decoder guides."""
        return f"{self.prior_key()} {PROXY_ROUNDS} {BEST_ROUNDS} {_checksum(self.decoder):08x}"

    def _classical_halftones(self, colour: Tensor) -> Tensor:
        pictures = ((colour.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        halftones = [self.prior_halftone(picture.permute(1, 2, 0).numpy()) for picture in pictures]
        white = torch.from_numpy(np.stack(halftones)).unsqueeze(1) > 127
        return white.to(colour.device, colour.dtype) * 2 - 1


class InverseHalf(nn.Module):
    """Halftone to gray, (N, 1, H, W) → (N, 1, H, W): trained in stage 0, then the feature extractor of the warm-up."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.width = width
        self.net = HourGlass(1, 1, width)

    def arch(self) -> dict:
        """The arguments that rebuild this network, as plain values for a checkpoint."""
        return {"name": "InverseHalf", "width": self.width}

    @classmethod
    def from_arch(cls, arch: dict) -> "InverseHalf":
        """Build the untrained network from `arch()`."""
        return cls(arch["width"])

    def forward(self, halftone: Tensor) -> Tensor:
        return self.net(halftone)


def calibration_photograph() -> np.ndarray:
    """Deterministic noise with the spectrum of a photograph, (CALIBRATION_SIDE, CALIBRATION_SIDE, 3) BGR uint8."""
    random = np.random.default_rng(0)
    gray, colour = (np.zeros((CALIBRATION_SIDE, CALIBRATION_SIDE, depth), np.float32) for depth in (1, 3))
    for octave in range(6):
        for picture, strength in ((gray, 25.0), (colour, 12.0)):
            noise = random.normal(size=picture.shape).astype(np.float32)
            sigma = 0.5 * 2**octave
            blurred = cv2.GaussianBlur(noise, (0, 0), sigma).reshape(picture.shape)
            picture += strength / blurred.std() * blurred
    return np.clip(np.rint(128 + gray + colour), 0, 255).astype(np.uint8)


def _checksum(network: nn.Module) -> int:
    return zlib.crc32(b"".join(value.cpu().numpy().tobytes() for value in network.state_dict().values()))


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}
