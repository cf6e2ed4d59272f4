"""The encoder's noise channel: white as in the paper (its noise incentive block), or blue. Both are N(0, NOISE²)."""

from functools import cache

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from halftone.void_and_cluster import stored_mask
from model.constants import constant

NOISE = 0.3
"""Standard deviation of the noise channel."""
KINDS = ("white", "blue")


def noise_channel(
    kind: str, count: int, height: int, width: int, seed: int | None, device: torch.device | str = "cpu"
) -> Tensor:
    """(count, 1, height, width) float32 of standard deviation NOISE.

    seed  drawn on the CPU, the same plane for every image: a halftone depends neither on the batch nor on the device.
          None: another plane for each image from torch's global generators (training)
    """
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        plane = _blue(1, height, width, generator) if kind == "blue" else _white(1, height, width, generator)
        return plane.to(device).expand(count, -1, -1, -1)
    if kind == "blue":
        return _blue(count, height, width, device=device)
    return _white(count, height, width, device=device)


def _white(count: int, height: int, width: int, generator: torch.Generator | None = None, device="cpu") -> Tensor:
    return NOISE * torch.randn(count, 1, height, width, generator=generator, device=device)


def _blue(count: int, height: int, width: int, generator: torch.Generator | None = None, device="cpu") -> Tensor:
    """The periodic plane `blue_levels`, for each image at a random offset, transposed, mirrored and negated or not."""
    planes = constant(_blue_planes, device=torch.device(device))
    period = planes.shape[-1]
    draws = torch.randint(period, (3, count, 1, 1), generator=generator)  # on the CPU: the same on every device
    top, left, variant = draws.to(device, non_blocking=True)
    rows = (top + torch.arange(height, device=device).view(-1, 1)) % period
    columns = (left + torch.arange(width, device=device)) % period
    return planes[variant % len(planes), rows, columns].unsqueeze(1)


def _blue_planes() -> np.ndarray:
    """(8, 64, 64): `blue_levels` times NOISE; the bits of the index say transposed, mirrored, negated."""
    planes = []
    for variant in range(8):
        levels = blue_levels().T if variant & 1 else blue_levels()
        levels = levels[::-1] if variant & 2 else levels
        planes.append(-levels if variant & 4 else levels)
    return NOISE * np.stack(planes)


@cache
def blue_levels() -> np.ndarray:
    """The ranks of the void-and-cluster mask mapped to a standard normal distribution, float32 (64, 64), periodic."""
    ranks = stored_mask()
    return ndtri((ranks + 0.5) / ranks.size).astype(np.float32)
