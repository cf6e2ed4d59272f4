"""ResHalf: colour photograph → binary halftone → colour photograph (Xia et al., ICCV 2021), and InverseHalf."""

import json
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from model.fixed_point import FixedPoint, has_integer_convolution, synthetic_photograph
from model.guidance import guided_halftone
from model.hourglass import HourGlass, keep_variance
from model.pilot import UNKNOWN, origin
from model.prior import Prior
from model.quantizer import quantize
from model.subpixel import Subpixel
from utils.pixels import to_tensor

NOISE = 0.3
"""Standard deviation of the noise channel (the paper's noise incentive block)."""

DECODERS = ("hourglass", "subpixel")
BEST_ROUNDS = 12
"""Queries to the decoder itself, unless told otherwise."""


class Encoded(NamedTuple):
    """continuous (N, 1, H, W), unbounded, before the quantizer; halftone (N, 1, H, W) in {-1, 1}."""

    continuous: Tensor
    halftone: Tensor


class Output(NamedTuple):
    """`Encoded`, and restored (N, 3, H, W) BGR, unclipped."""

    continuous: Tensor
    halftone: Tensor
    restored: Tensor


class ResHalf(nn.Module):
    """Encoder and decoder. Photographs are (N, 3, H, W) BGR in [-1, 1], any H, W ≥ 1.

    width   channels of both hourglasses at full resolution; 64 is the paper's network.
    prior   None: the paper's network, its fourth input channel is noise. Otherwise the fourth channel is the prior's
            classical halftone, which the encoder corrects, or which it is when the prior asks for no correction.
    levels  of both hourglasses; 3 is the paper's network. What a halftone says of a pixel stands near it: on a prior,
            one level restores as well as three for half the work.
    decoder "hourglass", or "subpixel": a network at half resolution, of `blocks` residual blocks
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
    ):
        super().__init__()
        if decoder not in DECODERS:
            raise ValueError(f"decoder must be one of {', '.join(DECODERS)}, not {decoder!r}")
        self.width, self.levels, self.blocks, self._decoder_kind = width, levels, blocks, decoder
        self.prior = Prior.from_dict(prior) if isinstance(prior, dict) else prior
        demodulator = self.prior is not None and self.prior.demodulator
        self.encoder = HourGlass(4, 1, width, levels) if self.prior is None or self.prior.correction else None
        inputs = 4 if demodulator else 1
        subpixel = decoder == "subpixel"
        self.decoder = Subpixel(inputs, 3, width, blocks) if subpixel else HourGlass(inputs, 3, width, levels)
        guided = self.prior is not None and self.prior.guidance > 0
        self.proxy = Subpixel(inputs, 3, self.prior.proxy_width).requires_grad_(False) if guided else None
        self._int8: dict[nn.Module, tuple[object, FixedPoint]] = {}
        if self.prior is not None:
            # Torch's default weights shrink a signal at every layer, and the lower levels never come to matter.
            for network in filter(None, (self.encoder, self.decoder)):
                keep_variance(network)
            # Networks that stand on a prior start as a correction of nothing.
            if self.encoder is not None:
                _zero_last_layer(self.encoder)
            if demodulator:
                _zero_last_layer(self.decoder)

    def arch(self) -> dict:
        """What a checkpoint needs to rebuild this network, as plain values."""
        prior = self.prior.as_dict() if self.prior else None
        sizes = {"width": self.width, "levels": self.levels, "decoder": self._decoder_kind, "blocks": self.blocks}
        return {"name": "ResHalf", **sizes, "prior": prior}

    @classmethod
    def from_arch(cls, arch: dict) -> "ResHalf":
        """The untrained network that `arch` describes; ValueError for a prior that is none."""
        settings = {key: arch[key] for key in ("levels", "decoder", "blocks") if key in arch}
        return cls(arch["width"], Prior.from_dict(arch["prior"]) if arch.get("prior") else None, **settings)

    def take_proxy(self, other: "ResHalf") -> None:
        """Copy another network's decoder, where that was trained to be a proxy, or else its proxy.

        ValueError if neither fits.
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

    def encode(self, colour: Tensor, *, seed: int | None = 0, guide: Tensor | None = None) -> Encoded:
        """Halftone photographs (N, 3, H, W).

        guide  (N, 1, H, W), the encoder's fourth channel, when it is known already: the classical halftone in
               {-1, 1}, or without a prior noise of standard deviation NOISE
        seed   otherwise, of the noise, drawn for every image on its own on the CPU, so that an image's halftone depends
               neither on its batch nor on the device; None draws from torch's global generator (training)
        """
        if guide is None:
            guide = _noise(colour, seed) if self.prior is None else self._classical_halftones(colour)
        if self.prior is None:
            continuous = self.encoder(torch.cat((colour, guide), dim=1))
        else:
            continuous = self.prior.beta * guide
            if self.encoder is not None:
                continuous = continuous + self.encoder(torch.cat((colour, guide), dim=1))
        return Encoded(continuous, quantize(continuous))

    def decode(self, halftone: Tensor, decoder: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Restore (N, 1, H, W) in {-1, 1} to (N, 3, H, W) BGR, nominally in [-1, 1], unclipped.

        decoder  computes in place of this network's: `as_int8` of it
        """
        decoder = decoder or self.decoder
        return decoder(halftone) if self.prior is None else self.prior.restore(decoder, halftone)

    @property
    def receptive_radius(self) -> int | None:
        """Pixels around a restored one that a halftone is looked at; None where it is an hourglass that looks at it."""
        if self.encoder is not None or not isinstance(self.decoder, Subpixel):
            return None
        return self.decoder.receptive_radius + self.prior.receptive_radius

    @property
    def can_query_decoder(self) -> bool:
        """Whether a guided search can query the decoder itself."""
        return self.proxy is not None and isinstance(self.decoder, Subpixel)

    def is_quickest_as_int8(self) -> bool:
        """Whether the decoder restores quickest `as_int8` where it is: on a CPU with instructions for int8."""
        here = next(self.decoder.parameters()).device.type == "cpu" and has_integer_convolution()
        return here and self.prior is not None and isinstance(self.decoder, Subpixel)

    def as_int8(self, network: Subpixel) -> FixedPoint:
        """The decoder or the proxy quantized to 8-bit integers, on the device where it is; needs a prior.

        Quantized again only when its weights or its device have changed. Raises FloatingPointError for broken weights.
        """
        device = next(network.parameters()).device
        now = _checksum(network), device
        made, integers = self._int8.get(network, (None, None))
        if made != now:
            integers = self._to_int8(network, device)
            self._int8[network] = now, integers
        return integers

    def _to_int8(self, network: Subpixel, device: torch.device) -> FixedPoint:
        bgr = synthetic_photograph()
        colour, dots = (to_tensor(levels).to(device) for levels in (bgr, self.prior.search(bgr).halftone()))
        inputs, linear = self.prior.decoder_inputs(dots)
        return FixedPoint(network, inputs, colour if linear is None else colour - linear)

    def align_to_pilot(self, halftone: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """(H, W) uint8 in {0, 255}, cropped, mirrored or turned perhaps, as the decoder needs it.

        Where its pilot tells so (halftone/pilot.py), rows become columns, and a reflected row or column comes before
        the first. Beside it what takes this back from its restoration (H', W', 3) → (H, W, 3).
        """
        found = origin(halftone) if self.prior is not None and self.prior.pilot else UNKNOWN
        if found.turned:
            halftone = np.ascontiguousarray(halftone.T)
        if found.row or found.column:
            halftone = np.pad(halftone, ((found.row, 0), (found.column, 0)), "reflect")

        def undo(restored: np.ndarray) -> np.ndarray:
            inside = restored[found.row :, found.column :]
            return np.ascontiguousarray(inside.swapaxes(0, 1)) if found.turned else inside

        return halftone, undo

    def forward(self, colour: Tensor, guide: Tensor | None = None) -> Output:
        """Halftone and restore, noise from the global generator: the training pass."""
        encoded = self.encode(colour, seed=None, guide=guide)
        return Output(*encoded, self.decode(encoded.halftone))

    def prior_halftone(self, bgr: np.ndarray, rounds: int | None = None, best: bool = False) -> np.ndarray:
        """What the encoder starts from, of one photograph: (H, W, 3) BGR uint8 → (H, W) uint8 in {0, 255}.

        rounds  how many times the search queries the proxy, where there is one; None: as the prior says
        best    query the decoder itself, a Subpixel, BEST_ROUNDS times if `rounds` does not say otherwise
        A pure function of the photograph, the prior's settings and the weights of what is queried; needs a prior.
        """
        if rounds is None:
            rounds = BEST_ROUNDS if best else self.prior.guided_rounds
        if self.proxy is None or rounds == 0:
            return self.prior.classical_halftone(bgr)
        return guided_halftone(self.prior, self.as_int8(self.decoder if best else self.proxy), bgr, rounds)

    def prior_key(self) -> str:
        """Names what `prior_halftone` depends on besides the photograph."""
        learned = {"beta", "correction"}  # what happens to the halftone afterwards
        settings = {name: value for name, value in self.prior.as_dict().items() if name not in learned}
        key = json.dumps(settings, sort_keys=True)
        if self.proxy is None:
            return key
        return f"{key} {_checksum(self.proxy):08x} integers"

    def guide(self, bgr: np.ndarray, seed: int = 0) -> Tensor:
        """The encoder's fourth channel for one photograph, (H, W, 3) BGR uint8 → (1, 1, H, W) float32 on the CPU.

        Made once for the whole photograph, it makes tiles of it agree.
        """
        if self.prior is None:
            return _noise_plane(*bgr.shape[:2], seed)
        return to_tensor(self.prior_halftone(bgr))

    def _classical_halftones(self, colour: Tensor) -> Tensor:
        pictures = ((colour.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        halftones = [self.prior_halftone(picture.permute(1, 2, 0).numpy()) for picture in pictures]
        white = torch.from_numpy(np.stack(halftones)).unsqueeze(1) > 127
        return white.to(colour.device, colour.dtype) * 2 - 1


class InverseHalf(nn.Module):
    """Gray from a halftone: (N, 1, H, W) → (N, 1, H, W); trained first, it then guides the warm-up."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.width = width
        self.net = HourGlass(1, 1, width)

    def arch(self) -> dict:
        """What a checkpoint needs to rebuild this network, as plain values."""
        return {"name": "InverseHalf", "width": self.width}

    @classmethod
    def from_arch(cls, arch: dict) -> "InverseHalf":
        """The untrained network that `arch` describes."""
        return cls(arch["width"])

    def forward(self, halftone: Tensor) -> Tensor:
        return self.net(halftone)


def _noise(colour: Tensor, seed: int | None) -> Tensor:
    count, _, height, width = colour.shape
    if seed is None:
        return NOISE * torch.randn(count, 1, height, width, dtype=colour.dtype, device=colour.device)
    return _noise_plane(height, width, seed).to(colour.device, colour.dtype).expand(count, -1, -1, -1)


def _noise_plane(height: int, width: int, seed: int) -> Tensor:
    return NOISE * torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(seed))


def _checksum(network: nn.Module) -> int:
    return zlib.crc32(b"".join(value.cpu().numpy().tobytes() for value in network.state_dict().values()))


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def _zero_last_layer(network: HourGlass | Subpixel) -> None:
    nn.init.zeros_(network.outConv[-1].weight)
    nn.init.zeros_(network.outConv[-1].bias)
