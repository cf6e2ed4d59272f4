"""Gaussian filters as torch functions."""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from model.constants import constant


def gaussian_taps(size: int, sigma: float) -> list[float]:
    """Return the `size` samples of a centred Gaussian of standard deviation `sigma` pixels; their sum is 1."""
    return cv2.getGaussianKernel(size, sigma, cv2.CV_64F)[:, 0].tolist()


def gaussian_blur(x: Tensor, size: int, sigma: float, border: str = "valid") -> Tensor:
    """Blur every channel of (N, C, H, W) with a size × size Gaussian of standard deviation `sigma` pixels.

    border  "valid": no padding, (N, C, H - size + 1, W - size + 1); "zero": zero padding, same size;
            "renormalize": zero padding, divided by the sum of the taps inside the image, same size.
    The last two need an odd size. Raises ValueError for another border.
    """
    channels = x.shape[1]
    if border not in ("valid", "zero", "renormalize"):
        raise ValueError(f"border must be valid, zero or renormalize, not {border!r}")
    line = constant(gaussian_taps, size, sigma, device=x.device, dtype=x.dtype)
    if border == "valid":
        x = conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
        return conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    x = _ZeroBorderBlur.apply(x, gaussian_taps(size, sigma))
    if border == "renormalize":
        x = x / (_share_inside(line, x.shape[-2]).view(-1, 1) * _share_inside(line, x.shape[-1]))
    return x


class _ZeroBorderBlur(torch.autograd.Function):
    """Separable blur, which is its own adjoint; on the CPU several times faster than a depthwise convolution."""

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
    """(length,) sum of the taps that fall inside a line of `length` pixels, for each position."""
    ones = torch.ones(1, 1, length, dtype=line.dtype, device=line.device)
    return torch.nn.functional.conv1d(ones, line.view(1, 1, -1), padding=line.numel() // 2).flatten()
