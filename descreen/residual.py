"""Coarse network of the shipped checkpoint: residual blocks at 1/2, 1/4 and 1/8 of the resolution.

A screen has a period of a few pixels. Space-to-depth keeps it visible to the convolutions at a quarter of the cost; the
receptive field of the lower levels spans enough cells to separate the screens of the inks from image content.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from descreen.networks import blurred
from halftone.inks import INKS
from model.hourglass import Residual, keep_variance, reflect_to_multiple

STRIDE = 8
TAIL, TAIL_KEPT = 128, 32
"""A side that is no multiple of STRIDE: a second pass over its last TAIL pixels computes its last TAIL_KEPT pixels."""


class ResidualCoarse(nn.Module):
    """Removes the screen: (N, 3, H, W) → (N, 3, H, W), unbounded, any H and W; input (N, 7, H, W) with `waves`, and
    one channel more with `inks`.

    Reflection breaks the periodicity of a screen. Sides that are no multiple of 8 are therefore processed twice, on the
    grids aligned to their two ends; only sides up to TAIL pixels are extended by reflection.

    width    channels at half resolution; doubled at each of the two lower levels
    deepest  maximal channels of a level; None: no limit
    blur     σ in pixels: predict a residual to the Gaussian blur of the scan; 0: predict the image. The output layer is
             zero-initialized
    waves    four screen-phase channels (descreen/waves.py) follow those of the scan
    inks     the last channel is the same everywhere: the kind of inks (descreen/inks.py)
    down_blocks, up_blocks  residual blocks of the three levels before and after those below
    """

    stride = 2

    def __init__(
        self,
        width: int,
        deepest: int | None,
        blur: float,
        waves: bool,
        down_blocks: Sequence[int],
        up_blocks: Sequence[int],
        inks: bool,
    ):
        super().__init__()
        self.receptive_radius = 11 + sum(
            4 * 2**level * blocks for counts in (down_blocks, up_blocks) for level, blocks in enumerate(counts)
        )
        self.blur, self.inputs = blur, 3 + len(INKS) * waves
        channels = [min(width * 2**level, deepest or 4 * width) for level in range(3)]
        steps = list(zip(channels, channels[1:], strict=False))
        self.enter = nn.Conv2d(4 * self.inputs, channels[0], 3, padding=1)
        self.shift = InkShift(channels[0]) if inks else None
        self.before = nn.ModuleList(_blocks(*level) for level in zip(channels, down_blocks, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(upper, lower, 2, stride=2) for upper, lower in steps)
        self.grow = nn.ModuleList(nn.Conv2d(lower, 4 * upper, 1) for upper, lower in steps)
        self.after = nn.ModuleList(_blocks(*level) for level in zip(channels, up_blocks, strict=True))
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv2d(channels[0], 4 * 3, 3, padding=1))
        keep_variance(self)
        nn.init.zeros_(self.leave[-1].weight)

    def forward(self, scan: Tensor) -> Tensor:
        for axis in (2, 3):
            side = scan.shape[axis]
            if side % STRIDE and side > TAIL:
                head = self(scan.narrow(axis, 0, side - side % STRIDE)).narrow(axis, 0, side - TAIL_KEPT)
                tail = self(scan.narrow(axis, side - TAIL, TAIL)).narrow(axis, TAIL - TAIL_KEPT, TAIL_KEPT)
                return torch.cat((head, tail), dim=axis)
        height, width = scan.shape[-2:]
        aligned = reflect_to_multiple(scan[:, : self.inputs], STRIDE)
        # (N, width, H/2, W/2)
        x = self.enter(pixel_unshuffle(aligned, 2).contiguous(memory_format=torch.channels_last))
        if self.shift is not None:
            x = self.shift(x, scan[:, self.inputs, :1, :1, None])
        features = [self.before[0](x)]
        for shrink, before in zip(self.shrink, self.before[1:], strict=True):
            features.append(before(shrink(features[-1])))  # H/4, H/8
        x = self.after[-1](features.pop())
        for grow, after in zip(reversed(self.grow), reversed(self.after[:-1]), strict=True):
            x = after(features.pop() + pixel_shuffle(grow(x), 2))  # H/4, H/2
        x = pixel_shuffle(self.leave(x), 2)
        if self.blur:
            x = x.float() + blurred(aligned[:, :3], self.blur)
        return x[..., :height, :width]


class InkShift(nn.Module):
    """Adds the kind of inks, (N, 1, 1, 1), times a vector to all pixels of (N, C, H, W). Initially zero."""

    starts_as_identity = True

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, kind: Tensor) -> Tensor:
        return x + (self.weight * kind).to(x.dtype)


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels) for _ in range(count)))
