"""A small residual network at half resolution, for a quarter of the multiplications.

Both carriers of the dither prior have period 2, so after space-to-depth they are constant weights on the channels of a
convolution. Source of depth-to-space: W. Shi et al., *Real-Time Single Image and Video Super-Resolution Using an
Efficient Sub-Pixel Convolutional Neural Network*, CVPR 2016.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from model.hourglass import Residual, reflect_to_multiple


class Subpixel(nn.Module):
    """Space to depth, conv3, ReLU, `blocks` residual blocks, conv3, ReLU, conv1, depth to space.

    (N, inputs, H, W) → (N, outputs, H, W), unbounded; `width` channels inside. Any H, W ≥ 1.
    stride            stride of the feature maps, in pixels
    receptive_radius  receptive-field radius around a 2 × 2 block of output pixels, in pixels
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
        # A fixed memory format: halftones depend on the last bit of the output, which depends on the format.
        x = self.inConv(x.contiguous(memory_format=torch.channels_last))
        return pixel_shuffle(self.outConv(self.residual(x)), 2)[..., :height, :width]
