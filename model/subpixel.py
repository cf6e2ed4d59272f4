"""A small residual network at half resolution: what a halftone says, for a quarter of the work.

Both carriers of the dither prior repeat every second pixel, so the four phases side by side (a space-to-depth step)
show them to a convolution as plain differences of channels. Source of the last step: W. Shi et al., *Real-Time Single
Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network*, CVPR 2016.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from model.hourglass import Residual, reflect_to_multiple


class Subpixel(nn.Module):
    """Space to depth, conv3, ReLU, `blocks` residual blocks, conv3, ReLU, conv1, depth to space.

    (N, inputs, H, W) → (N, outputs, H, W), unbounded; `width` channels inside. Any H, W ≥ 1.
    stride pixels a side for one of its feature maps
    reach  pixels around a block of 2 × 2 output pixels, which share their sources, that the block depends on, at most
    """

    stride = 2

    def __init__(self, inputs: int, outputs: int, width: int = 32, blocks: int = 2):
        super().__init__()
        self.receptive_radius = 2 * (2 * blocks + 2)
        self.inConv = nn.Sequential(nn.Conv2d(4 * inputs, width, 3, padding=1), nn.ReLU(inplace=True))
        self.residual = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        last = nn.Conv2d(width, 4 * outputs, 1)
        self.outConv = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), last)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = pixel_unshuffle(reflect_to_multiple(x, 2), 2)
        # One memory format whatever the weights have: halftones depend on the last bit of what comes out.
        x = self.inConv(x.contiguous(memory_format=torch.channels_last))
        return pixel_shuffle(self.outConv(self.residual(x)), 2)[..., :height, :width]
