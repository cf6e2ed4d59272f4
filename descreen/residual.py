"""The coarse network that is trained here: residual blocks at a half, a quarter and an eighth of the resolution.

A screen repeats every few pixels, so the four phases side by side (a space-to-depth step) show it to a convolution at a
quarter of the work; the levels below see enough cells to tell the inks' screens from the picture.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from descreen.networks import blurred
from halftone.inks import INKS
from model.hourglass import Residual, keep_variance, reflect_to_multiple

BEFORE, AFTER = (2, 2, 2), (2, 1, 0)
"""Residual blocks of each level on the way down and on the way up."""
STRIDE = 8
EDGE, LAST = 128, 32
"""Pixels at the end of a side that is no multiple of STRIDE: what is looked at for the last ones, and those."""


class ResidualCoarse(nn.Module):
    """Removes the screen: (N, 3, H, W) → (N, 3, H, W), unbounded, any H and W; with `waves` (N, 7, H, W).

    A mirrored screen is none that was trained on, so the last pixels of a side that is no multiple of 8 are restored
    from a grid that ends with it; only sides below EDGE are reflected.

    width    channels at half resolution; twice and four times as many at the two levels below
    deepest  most channels of any level; None: no bound
    blur     as CoarseNet's; it begins with nothing to add, so with 0 in gray
    waves    it also sees the waves of the inks (descreen/waves.py), four channels after those of the scan
    """

    def __init__(self, width: int = 48, deepest: int | None = None, blur: float = 0.0, waves: bool = False):
        super().__init__()
        self.blur, self.inputs = blur, 3 + len(INKS) * waves
        channels = [min(width * 2**level, deepest or 4 * width) for level in range(3)]
        self.enter = nn.Conv2d(4 * self.inputs, channels[0], 3, padding=1)
        self.before = nn.ModuleList(_blocks(*level) for level in zip(channels, BEFORE, strict=True))
        self.shrink = nn.ModuleList(
            nn.Conv2d(above, here, 2, stride=2) for above, here in zip(channels, channels[1:], strict=False)
        )
        self.grow = nn.ModuleList(
            nn.Conv2d(here, 4 * above, 1) for above, here in zip(channels, channels[1:], strict=False)
        )
        self.after = nn.ModuleList(_blocks(*level) for level in zip(channels, AFTER, strict=True))
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv2d(channels[0], 4 * 3, 3, padding=1))
        keep_variance(self)  # and all together begin as the blur
        nn.init.zeros_(self.leave[-1].weight)

    def forward(self, scan: Tensor) -> Tensor:
        for axis in (2, 3):
            side = scan.shape[axis]
            if side % STRIDE and side > EDGE:
                most = self(scan.narrow(axis, 0, side - side % STRIDE)).narrow(axis, 0, side - LAST)
                end = self(scan.narrow(axis, side - EDGE, EDGE)).narrow(axis, EDGE - LAST, LAST)
                return torch.cat((most, end), dim=axis)
        height, width = scan.shape[-2:]
        aligned = reflect_to_multiple(scan[:, : self.inputs], STRIDE)
        # (N, width, H/2, W/2)
        x = self.enter(pixel_unshuffle(aligned, 2).contiguous(memory_format=torch.channels_last))
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


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(Residual(channels) for _ in range(count)))
