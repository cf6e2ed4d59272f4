"""The hourglass network of encoder and decoder (Xia et al., ICCV 2021, figure 3).

Attribute names follow the released checkpoints, so that their state dicts load key for key.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, pad


def _conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


class ConvBlock(nn.Module):
    """`count` × (conv3 + ReLU); the first maps `inputs` to `outputs` channels. (N, C, H, W) → (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, count: int):
        super().__init__()
        self.inConv = nn.Sequential(_conv3(inputs, outputs), nn.ReLU(inplace=True))
        rest = [layer for _ in range(count - 1) for layer in (_conv3(outputs, outputs), nn.ReLU(inplace=True))]
        self.conv = nn.Sequential(*rest)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.inConv(x))


class Downsample(nn.Module):
    """Stride-2 conv3 without activation: (N, inputs, H, W) → (N, outputs, H/2, W/2)."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = _conv3(inputs, outputs, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """Nearest ×2, then conv3, conv3, ReLU: (N, inputs, H, W) → (N, outputs, 2H, 2W).

    The enlargement and the first convolution are computed as one transposed convolution, which sums the weights that
    fall on the same input pixel first: 4 products per channel and output pixel instead of 9, equal but for rounding.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Sequential(_conv3(inputs, outputs), _conv3(outputs, outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        first = self.conv[0]
        return self.conv[1:](conv_transpose2d(x, _enlarging(first.weight), first.bias, stride=2, padding=1))


def _enlarging(weight: Tensor) -> Tensor:
    """Weights of nearest ×2 and a convolution as one transposed one: (out, in, 3, 3) → (in, out, 4, 4)."""
    turned = weight.flip(2, 3).transpose(0, 1)
    return sum(pad(turned, (left, 1 - left, top, 1 - top)) for left in (0, 1) for top in (0, 1))


class Residual(nn.Module):
    """x + conv3(ReLU(conv3(x))), no activation after the sum."""

    starts_as_identity = True  # after keep_variance

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(_conv3(channels, channels), nn.ReLU(inplace=True), _conv3(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Skip(nn.Module):
    """1 × 1 convolution without bias over the upsampled and the encoder feature, each (N, channels, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        return self.conv(torch.cat((x, feature), dim=1))


class HourGlass(nn.Module):
    """Levels down, four residual blocks, the same levels up: (N, inputs, H, W) → (N, outputs, H, W), unbounded.

    width   channels at full resolution, doubled at each lower level; 64 is the paper's network
    levels  number of times the resolution is halved, 1 to 3; 3 is the paper's network
    Any H, W ≥ 1: the input is extended to a multiple of 2^levels by reflection (right and bottom) and the output is
    cropped.
    """

    stride = 1  # stride of the finest feature map, in pixels
    DOWN_BLOCKS, UP_BLOCKS = (2, 4, 4), (2, 2, 4)

    def __init__(self, inputs: int, outputs: int, width: int = 64, levels: int = 3):
        super().__init__()
        if not 1 <= levels <= len(self.DOWN_BLOCKS):
            raise ValueError(f"levels must be 1 to {len(self.DOWN_BLOCKS)}, not {levels}")
        self.levels = levels
        channels = [width * 2**level for level in range(levels + 1)]
        self.inConv = ConvBlock(inputs, width, 2)
        for level, count in zip(range(1, levels + 1), self.DOWN_BLOCKS, strict=False):
            above, here = channels[level - 1 : level + 1]
            self.add_module(f"down{level}", nn.Sequential(Downsample(above, here), ConvBlock(here, here, count)))
        self.residual = nn.Sequential(*(Residual(channels[-1]) for _ in range(4)))
        for level in range(levels, 0, -1):
            above, here = channels[level - 1 : level + 1]
            blocks = ConvBlock(above, above, self.UP_BLOCKS[level - 1])
            self.add_module(f"up{level}", nn.Sequential(Upsample(here, above), blocks))
            self.add_module(f"skip{level}", Skip(above))
        self.outConv = nn.Sequential(_conv3(width, width), nn.ReLU(inplace=True), nn.Conv2d(width, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        features = [self.inConv(reflect_to_multiple(x, 2**self.levels))]
        for level in range(1, self.levels + 1):
            features.append(self.get_submodule(f"down{level}")(features[-1]))  # (N, 2^level width, H/2^level, …)
        x = self.residual(features.pop())
        for level in range(self.levels, 0, -1):
            x = self.get_submodule(f"skip{level}")(self.get_submodule(f"up{level}")(x), features.pop())
        return self.outConv(x)[..., :height, :width]


def reflect_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend (N, C, H, W) at the right and bottom by reflection until H and W are multiples of `multiple`.

    The border pixel is not repeated (period 2H - 2); images narrower than the margin are reflected repeatedly. An
    aligned image is returned unchanged.
    """
    bottom, right = (-x.shape[-2]) % multiple, (-x.shape[-1]) % multiple
    while bottom or right:
        down, along = min(bottom, max(x.shape[-2] - 1, 0)), min(right, max(x.shape[-1] - 1, 0))
        if (bottom and not down) or (right and not along):
            # a single row or column cannot be reflected
            return pad(x, (0, right, 0, bottom), mode="replicate")
        x = pad(x, (0, along, 0, down), mode="reflect")
        bottom, right = bottom - down, right - along
    return x


def keep_variance(network: nn.Module) -> None:
    """Variance-preserving initialization (He et al., ICCV 2015), zero biases, residual blocks as the identity."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            linear = layer.kernel_size == (1, 1) or layer.stride == (2, 2)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if linear else "relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for block in network.modules():
        if isinstance(block, Residual):
            nn.init.zeros_(block.conv[-1].weight)


def zero_last_layer(network: nn.Module) -> None:
    """Zero the output layer of an HourGlass or a Subpixel: the first outputs are 0, and no loss starts out huge."""
    nn.init.zeros_(network.outConv[-1].weight)
    nn.init.zeros_(network.outConv[-1].bias)
