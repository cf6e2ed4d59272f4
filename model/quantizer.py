"""Binarization with a straight-through gradient."""

import torch
from torch import Tensor


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        # torch.round is half-to-even: (x + 1) / 2 = 0.5 becomes 0, so x = 0 is black.
        return torch.round((x.clamp(-1, 1) + 1) / 2) * 2 - 1

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


def quantize(x: Tensor) -> Tensor:
    """Round to the nearer of -1 and 1; the gradient passes unchanged (straight-through estimator).

    x  any shape, unbounded. Values are clamped to [-1, 1] first, so that memory and file hold the same halftone.
    Source: Xia et al., ICCV 2021, section 3.1 (binary gate).
    """
    return _StraightThrough.apply(x)
