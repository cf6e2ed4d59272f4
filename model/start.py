"""Targets of the start of the warm-up: random dithers that the encoder can compute from its noise channel.

From random weights the encoder copies the gray photograph, and neither tone nor the distance from -1 and 1 has a
gradient towards small dots. The mean squared error against one of these targets leads past this barrier.
"""

import math

import numpy as np
import torch
from torch import Tensor

from model.constants import constant
from model.loss import gray, opponents
from model.noise import NOISE, blue_levels

PAIRS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""(row, column) offsets of the neighbours that carry colour: magenta and green E-W against N-S, orange and blue one
diagonal against the other."""
FILTERS = {"white": (0.125, 0.375, 5.0), "blue": (0.0, 0.25, 3.0)}
"""b, a and s of `orientation`, by the kind of noise: white noise is also high-pass filtered."""
READABLE = (0.25, 0.85)
"""Range of a in `readable_amplitude`: from that of the encoder's target to one that a decoder learns to read soon."""


def start_target(
    target: str, noise_kind: str, colour: Tensor, noise: Tensor, amplitude: Tensor | None = None
) -> Tensor:
    """sign(gray + u) in {-1, 1}, (N, 1, H, W), where u, uniform in [-1, 1], depends on the noise channel.

    target      "random": u is the noise itself; "orientation": the noise filtered by `orientation`
    noise_kind  "white" or "blue"
    colour      (N, 3, H, W) BGR; noise (N, 1, H, W), the encoder's noise channel
    amplitude   a of `orientation`, broadcast over (N, 1, H, W); None: that of FILTERS
    """
    normal = noise.float() / NOISE
    if target == "orientation":
        normal = orientation(noise_kind, colour, normal, amplitude)
    threshold = torch.erf(normal / math.sqrt(2))
    return torch.where(gray(colour) + threshold > 0, 1.0, -1.0)


def readable_amplitude(count: int, device: torch.device) -> Tensor:
    """An amplitude of `orientation` for each of `count` images, uniform in READABLE, from torch's generator."""
    low, high = READABLE
    amplitude = low + (high - low) * torch.rand(count, 1, 1, 1)
    return amplitude.to(device, non_blocking=True)


def orientation(noise_kind: str, colour: Tensor, noise: Tensor, amplitude: Tensor | None = None) -> Tensor:
    """Noise of unit variance, (N, 1, H, W), in which chroma determines the correlation of neighbouring pixels.

    g(p) = n(p) - Σ_k (b + a tanh(s c_k(p))) (n(p + d_k) + n(p - d_k)), divided by its standard deviation, with d_k the
    PAIRS and c = (m, -m, o, -o), (o, m) the `opponents`: where c_k is positive, neighbours along d_k tend to differ.
    """
    base, default, slope = FILTERS[noise_kind]
    strength = default if amplitude is None else amplitude
    orange, magenta = (strength * torch.tanh(slope * opponents(colour))).split(1, dim=1)
    signals = (magenta, -magenta, orange, -orange)
    weights = torch.cat((torch.ones_like(orange), *(-(base + signal) for signal in signals)), dim=1)
    sums = [noise] + [torch.roll(noise, (y, x), (2, 3)) + torch.roll(noise, (-y, -x), (2, 3)) for y, x in PAIRS]
    filtered = (weights * torch.cat(sums, dim=1)).sum(dim=1, keepdim=True)
    covariance = constant(_covariance, noise_kind, device=colour.device)
    variance = torch.einsum("nihw,ij,njhw->nhw", weights, covariance, weights).unsqueeze(1)
    return filtered / variance.clamp_min(0.05).sqrt()


def _covariance(noise_kind: str) -> list[list[float]]:
    """5 × 5 covariances of the noise and of its sums over the four PAIRS, for noise of unit variance."""
    correlation = np.zeros((5, 5))
    correlation[0, 0] = 1
    if noise_kind == "blue":
        power = np.abs(np.fft.fft2(blue_levels())) ** 2
        power = power + power.T
        correlation = np.fft.ifft2(power + np.roll(power[::-1], 1, 0)).real  # mean over mirrored and turned planes
        correlation /= correlation[0, 0]
    groups = [[(0, 0)], *([(y, x), (-y, -x)] for y, x in PAIRS)]
    return [[float(sum(correlation[a - c, b - d] for a, b in p for c, d in q)) for q in groups] for p in groups]
