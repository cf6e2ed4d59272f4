"""Gaussian filters as torch functions: pure maths, no files, no networks."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad


def gaussian_taps(size: int, sigma: float) -> list[float]:
    """The `size` samples of a Gaussian of standard deviation `sigma` pixels, centred, summing to 1."""
    weights = [math.exp(-0.5 * ((i - (size - 1) / 2) / sigma) ** 2) for i in range(size)]
    total = sum(weights)
    return [weight / total for weight in weights]


def gaussian_blur(x: Tensor, size: int, sigma: float, border: str = "valid") -> Tensor:
    """Blur every channel of (N, C, H, W) with a size × size Gaussian.

    border  "valid": no padding, (N, C, H - size + 1, W - size + 1); "zero": zeros beyond the border, same size;
            "renormalize": the mean over the part of the kernel that lies inside, same size, any H, W ≥ 1.
    The last two need an odd size. Raises ValueError for another border.
    """
    channels = x.shape[1]
    if border not in ("valid", "zero", "renormalize"):
        raise ValueError(f"border must be valid, zero or renormalize, not {border!r}")
    taps = gaussian_taps(size, sigma)
    line = torch.tensor(taps, dtype=x.dtype).to(x.device, non_blocking=True)  # waiting would drain a GPU's queue
    if border == "valid":
        x = conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    x = _ZeroBorderBlur.apply(x, taps)
    if border == "renormalize":
        x = x / (_share_inside(line, x.shape[-2]).view(-1, 1) * _share_inside(line, x.shape[-1]))
    return x


class _ZeroBorderBlur(torch.autograd.Function):
    """Separable, its own adjoint; several times faster on the CPU than convolving single channels there."""

    @staticmethod
    def forward(context, x: Tensor, line: list[float]) -> Tensor:
        context.line = line
        return _blur(x, line)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        return _blur(gradient, context.line), None


def _blur(x: Tensor, line: list[float]) -> Tensor:
    if x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64) or torch.compiler.is_compiling():
        return _blur_along(_blur_along(x, line, 2), line, 3)
    x, weights = x.contiguous(), np.array(line, x.numpy().dtype)
    blurred = torch.empty_like(x)
    for source, target in zip(x.flatten(0, 1).numpy(), blurred.flatten(0, 1).numpy(), strict=True):
        cv2.sepFilter2D(source, -1, weights, weights, dst=target, borderType=cv2.BORDER_CONSTANT)
    return blurred


def _blur_along(x: Tensor, line: list[float], dim: int) -> Tensor:
    radius, length = len(line) // 2, x.shape[dim]
    padded = pad(x, (0, 0, radius, radius) if dim == 2 else (radius, radius))
    blurred = line[radius] * x
    for shift in range(radius):
        both = padded.narrow(dim, shift, length) + padded.narrow(dim, 2 * radius - shift, length)
        blurred.add_(both, alpha=line[shift])
    return blurred


def _share_inside(line: Tensor, length: int) -> Tensor:
    """(length,) sum of the kernel weights that fall inside a line of `length` pixels."""
    ones = torch.ones(1, 1, length, dtype=line.dtype, device=line.device)
    return torch.nn.functional.conv1d(ones, line.view(1, 1, -1), padding=line.numel() // 2).flatten()
