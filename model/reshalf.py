"""ResHalf: colour photograph → binary halftone → colour photograph (Xia et al., ICCV 2021), and InverseHalf."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .hourglass import HourGlass
from .prior import Prior
from .quantizer import quantize

NOISE = 0.3
"""Standard deviation of the noise channel (the paper's noise incentive block)."""


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
    """

    def __init__(self, width: int = 64, prior: Prior | dict | None = None, levels: int = 3):
        super().__init__()
        self.width, self.levels = width, levels
        self.prior = Prior.from_dict(prior) if isinstance(prior, dict) else prior
        demodulator = self.prior is not None and self.prior.demodulator
        self.encoder = HourGlass(4, 1, width, levels) if self.prior is None or self.prior.correction else None
        self.decoder = HourGlass(4 if demodulator else 1, 3, width, levels)
        if self.prior is not None:
            # Torch's default weights shrink a signal at every layer, and the lower levels never come to matter.
            for hourglass in (self.encoder, self.decoder):
                if hourglass is not None:
                    _keep_variance(hourglass)
            # Networks that stand on a prior start as a correction of nothing.
            if self.encoder is not None:
                _zero_last_layer(self.encoder)
            if demodulator:
                _zero_last_layer(self.decoder)

    def arch(self) -> dict:
        """What a checkpoint needs to rebuild this network, as plain values."""
        prior = self.prior.as_dict() if self.prior else None
        return {"name": "ResHalf", "width": self.width, "levels": self.levels, "prior": prior}

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

    def decode(self, halftone: Tensor) -> Tensor:
        """Restore (N, 1, H, W) in {-1, 1} to (N, 3, H, W) BGR, nominally in [-1, 1], unclipped."""
        if self.prior is None or not self.prior.demodulator:
            return self.decoder(halftone)
        linear = self.prior.demodulate(halftone)
        return linear + self.decoder(torch.cat((halftone, linear), dim=1))

    def forward(self, colour: Tensor, guide: Tensor | None = None) -> Output:
        """Halftone and restore, noise from the global generator: the training pass."""
        encoded = self.encode(colour, seed=None, guide=guide)
        return Output(*encoded, self.decode(encoded.halftone))

    def prior_halftone(self, bgr: np.ndarray) -> np.ndarray:
        """The classical halftone of one photograph: (H, W, 3) BGR uint8 → (H, W) uint8 in {0, 255}; needs a prior."""
        return self.prior.classical_halftone(bgr)

    def guide(self, bgr: np.ndarray, seed: int = 0) -> Tensor:
        """The encoder's fourth channel for one photograph, (H, W, 3) BGR uint8 → (1, 1, H, W) float32 on the CPU.

        Made once for the whole photograph, it makes tiles of it agree.
        """
        if self.prior is None:
            return _noise_plane(*bgr.shape[:2], seed)
        return torch.from_numpy(self.prior.classical_halftone(bgr))[None, None].float() / 127.5 - 1

    def _classical_halftones(self, colour: Tensor) -> Tensor:
        pictures = ((colour.detach().float().cpu() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        halftones = [self.prior.classical_halftone(picture.permute(1, 2, 0).numpy()) for picture in pictures]
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

    def forward(self, halftone: Tensor) -> Tensor:
        return self.net(halftone)


def _noise(colour: Tensor, seed: int | None) -> Tensor:
    count, _, height, width = colour.shape
    if seed is None:
        return NOISE * torch.randn(count, 1, height, width, dtype=colour.dtype, device=colour.device)
    return _noise_plane(height, width, seed).to(colour.device, colour.dtype).expand(count, -1, -1, -1)


def _noise_plane(height: int, width: int, seed: int) -> Tensor:
    return NOISE * torch.randn(1, 1, height, width, generator=torch.Generator().manual_seed(seed))


def _keep_variance(network: HourGlass) -> None:
    """Weights that keep the signal's variance (He et al., ICCV 2015), biases zero, residual blocks the identity."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            linear = layer.kernel_size == (1, 1) or layer.stride == (2, 2)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if linear else "relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for block in network.residual:
        nn.init.zeros_(block.conv[-1].weight)


def _zero_last_layer(network: HourGlass) -> None:
    nn.init.zeros_(network.outConv[-1].weight)
    nn.init.zeros_(network.outConv[-1].bias)
