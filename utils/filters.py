"""Gaussian filters as torch functions: pure maths, no files, no networks."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d


def gaussian_kernel(size: int, sigma: float, *, dtype=torch.float32, device=None) -> Tensor:
    """Return the (size,) samples of a Gaussian of standard deviation `sigma` pixels, centred, summing to 1."""
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-0.5 * (x / sigma) ** 2)
    return (weights / weights.sum()).to(device=device, dtype=dtype)


def gaussian_blur(x: Tensor, size: int, sigma: float, border: str = "valid") -> Tensor:
    """Blur every channel of (N, C, H, W) with a size × size Gaussian.

    border  "valid": no padding, (N, C, H - size + 1, W - size + 1); "zero": zeros beyond the border, same size;
            "renormalize": the mean over the part of the kernel that lies inside, same size, any H, W ≥ 1.
    """
    channels = x.shape[1]
    line = gaussian_kernel(size, sigma, dtype=x.dtype, device=x.device)
    if border == "valid":
        padding = 0
    elif border in ("zero", "renormalize"):
        padding = size // 2
    else:
        raise ValueError(f"border must be valid, zero or renormalize, not {border!r}")
    x = conv2d(x, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), padding=(padding, 0), groups=channels)
    x = conv2d(x, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), padding=(0, padding), groups=channels)
    if border == "renormalize":
        x = x / (_share_inside(line, x.shape[-2]).view(-1, 1) * _share_inside(line, x.shape[-1]))
    return x


def _share_inside(line: Tensor, length: int) -> Tensor:
    """(length,) sum of the kernel weights that fall inside a line of `length` pixels."""
    ones = torch.ones(1, 1, length, dtype=line.dtype, device=line.device)
    return torch.nn.functional.conv1d(ones, line.view(1, 1, -1), padding=line.numel() // 2).flatten()
