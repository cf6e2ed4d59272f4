"""The trained networks of the descreening system (Kim & Park, SIGGRAPH 2018). Pictures are (N, 3, H, W) BGR in [-1, 1].

`width` is the number of channels at full resolution of CoarseNet and DetailsNet; 64 is the paper's system.
"""

import math

import torch
from torch import Tensor, nn

from descreen.objects import CLASSES
from halftone.inks import INKS
from model.hourglass import reflect_to_multiple
from utils.filters import gaussian_blur

COARSE_STRIDE = 32
"""CoarseNet halves five times."""


class CoarseNet(nn.Module):
    """U-Net that removes the screen: (N, 3, H, W) → (N, 3, H, W), unbounded; with `waves` (N, 7, H, W).

    H and W are reflected to multiples of 32.

    deepest  most channels of any layer; None: 8 · width, as published
    blur     σ in pixels: the network learns what the scan lacks under this Gaussian blur, and begins with nothing to
             add; 0, as published: it learns the picture itself
    waves    it also sees the waves of the inks (descreen/waves.py), four channels after those of the scan
    """

    def __init__(self, width: int = 64, deepest: int | None = None, blur: float = 0.0, waves: bool = False):
        super().__init__()
        self.blur, self.inputs = blur, 3 + len(INKS) * waves
        half, quarter, *low = (min(width * 2**level, deepest or 8 * width) for level in (0, 1, 2, 3, 3))
        self.down = nn.ModuleList(
            [
                _down(self.inputs, half, norm=False),
                _down(half, quarter),
                _down(quarter, low[0]),
                _down(low[0], low[1]),
                _down(low[1], low[2], norm=False),
            ]
        )
        # From the second on, a part of the input is the feature of the same size on the way down.
        self.up = nn.ModuleList(
            [
                _up(low[2], low[1]),
                _up(2 * low[1], low[0]),
                _up(2 * low[0], quarter),
                _up(2 * quarter, half),
                _up(2 * half, half),
            ]
        )
        self.out = nn.Sequential(
            nn.ConvTranspose2d(half, half, 3, padding=1), nn.ELU(), nn.Conv2d(half, 3, 3, padding=1)
        )
        self._start()

    def forward(self, scan: Tensor) -> Tensor:
        height, width = scan.shape[-2:]
        aligned = reflect_to_multiple(scan[:, : self.inputs], COARSE_STRIDE)
        x, features = aligned, []
        for layer in self.down:
            x = layer(x)  # H/2 ... H/32
            features.append(x)
        x = self.up[0](features.pop())  # (N, 8 width, H/16, W/16)
        for layer in self.up[1:]:
            x = layer(torch.cat((x, features.pop()), dim=1))
        x = self.out(x)
        if self.blur:
            x = x.float() + blurred(aligned[:, :3], self.blur)
        return x[..., :height, :width]

    def _start(self) -> None:
        """Weights that keep the variance of the features down to the lowest level (He et al., ICCV 2015)."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                inputs = layer.in_channels * math.prod(layer.kernel_size)
                if isinstance(layer, nn.ConvTranspose2d):
                    inputs /= math.prod(layer.stride)
                gain = 0 if layer is self.out[-1] and self.blur else math.sqrt(2)
                nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
                nn.init.zeros_(layer.bias)


class EdgeNet(nn.Module):
    """Edge probability before the sigmoid: (N, 3, H, W) → (N, 1, H, W). `channels` is 32 in the paper's system."""

    def __init__(self, channels: int = 32):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (3, *[channels] * 4):
            layers += [nn.Conv2d(inputs, channels, 5, padding=2), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, picture: Tensor) -> Tensor:
        return self.layers(picture)


class DetailsNet(nn.Module):
    """What the coarse picture lacks, to be added to it: (N, 32, H, W) → (N, 3, H, W) in [-1, 1].

    The 32 channels are the scan, the coarse picture, the 25 object maps and the edge map. It begins by adding nothing.
    """

    INPUTS = 3 + 3 + len(CLASSES) + 1

    def __init__(self, width: int = 64):
        super().__init__()
        self.enter = _pair(self.INPUTS, width)
        self.residual = nn.ModuleList([_pair(width, width) for _ in range(3)])
        self.leave = nn.Sequential(nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())
        nn.init.zeros_(self.leave[0].weight)
        nn.init.zeros_(self.leave[0].bias)

    def forward(self, scan: Tensor, coarse: Tensor, objects: Tensor, edges: Tensor) -> Tensor:
        x = self.enter(torch.cat((scan, coarse, objects, edges), dim=1))
        for block in self.residual:
            x = x + block(x)
        return self.leave(x)


class ResidualDiscriminator(nn.Module):
    """D1 looks at the residual over the coarse picture: (N, 3, H, W) → (N, 1, H/32, W/32), H and W at least 32."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(*_strided(3, width, kernel=4, padding=1), nn.Conv2d(32 * width, 1, 1))

    def forward(self, residual: Tensor) -> Tensor:
        return self.layers(residual)


class TripleDiscriminator(nn.Module):
    """D2 looks at scan, truth and output together: 3 × (N, 3, H, W) → (N, 1, h, w).

    Its unpadded layers need 221 pixels a side; smaller pictures are continued by reflection.
    """

    SMALLEST = 221

    def __init__(self, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(*_strided(9, width, kernel=5, padding=0), nn.Conv2d(32 * width, 1, 4))

    def forward(self, scan: Tensor, truth: Tensor, output: Tensor) -> Tensor:
        x = torch.cat((scan, truth, output), dim=1)
        if min(x.shape[-2:]) < self.SMALLEST:
            x = reflect_to_multiple(x, self.SMALLEST)
        return self.layers(x)


def blurred(scan: Tensor, sigma: float) -> Tensor:
    """What a coarse network corrects: a Gaussian blur, always in float32, as half precision would round every level."""
    with torch.autocast(scan.device.type, enabled=False):
        return gaussian_blur(scan.float(), 2 * math.ceil(3 * sigma) + 1, sigma, "renormalize")


def _down(inputs: int, outputs: int, norm: bool = True) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.ELU())


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _strided(inputs: int, width: int, kernel: int, padding: int) -> list[nn.Module]:
    """Five stride-2 convolutions to 2, 4, 8, 16 and 32 times `width` channels, normalised after the first."""
    layers: list[nn.Module] = []
    for level in range(1, 6):
        outputs = width * 2**level
        layers.append(nn.Conv2d(inputs, outputs, kernel, stride=2, padding=padding))
        if level > 1:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        inputs = outputs
    return layers
