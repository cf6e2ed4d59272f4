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


class _Guarded(_StraightThrough):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _StraightThrough.forward(ctx, x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        outward = (x.abs() > 1) & (x * gradient < 0)  # a descent step would move x further away from 0
        return gradient.masked_fill(outward, 0)


def quantize(x: Tensor, guarded: bool = False) -> Tensor:
    """Round to the nearer of -1 and 1; the gradient passes unchanged (straight-through estimator).

    x        any shape, unbounded. Values are clamped to [-1, 1] first, so that memory and file hold the same halftone.
    guarded  no gradient where x is outside [-1, 1] and would be moved further out, which cannot change the result: with
             such gradients the outputs of a network drift away without limit
    Source: Xia et al., ICCV 2021, section 3.1 (binary gate); the guard is not part of the paper.
    """
    return (_Guarded if guarded else _StraightThrough).apply(x)
