"""The trained networks of the descreening system (Kim & Park, SIGGRAPH 2018). Pictures are (N, 3, H, W) BGR in [-1, 1].

`width` is the number of channels at full resolution of CoarseNet and DetailsNet; 64 is the paper's system.
"""

import torch
from torch import Tensor, nn

from descreen.objects import CLASSES
from model.hourglass import reflect_to_multiple

COARSE_STRIDE = 32
"""CoarseNet halves five times."""


class CoarseNet(nn.Module):
    """U-Net that removes the screen: (N, 3, H, W) → (N, 3, H, W), unbounded. H, W are reflected to multiples of 32."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.down = nn.ModuleList(
            [
                _down(3, width, norm=False),
                _down(width, 2 * width),
                _down(2 * width, 4 * width),
                _down(4 * width, 8 * width),
                _down(8 * width, 8 * width, norm=False),
            ]
        )
        # From the second on, half of the input is the feature of the same size on the way down.
        self.up = nn.ModuleList(
            [
                _up(8 * width, 8 * width),
                _up(16 * width, 4 * width),
                _up(8 * width, 2 * width),
                _up(4 * width, width),
                _up(2 * width, width),
            ]
        )
        self.out = nn.Sequential(
            nn.ConvTranspose2d(width, width, 3, padding=1), nn.ELU(), nn.Conv2d(width, 3, 3, padding=1)
        )

    def forward(self, scan: Tensor) -> Tensor:
        height, width = scan.shape[-2:]
        x = reflect_to_multiple(scan, COARSE_STRIDE)
        features = []
        for layer in self.down:
            x = layer(x)  # H/2 ... H/32
            features.append(x)
        x = self.up[0](features.pop())  # (N, 8 width, H/16, W/16)
        for layer in self.up[1:]:
            x = layer(torch.cat((x, features.pop()), dim=1))
        return self.out(x)[..., :height, :width]


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

    The 32 channels are the scan, the coarse picture, the 25 object maps and the edge map.
    """

    INPUTS = 3 + 3 + len(CLASSES) + 1

    def __init__(self, width: int = 64):
        super().__init__()
        self.enter = _pair(self.INPUTS, width)
        self.residual = nn.ModuleList([_pair(width, width) for _ in range(3)])
        self.leave = nn.Sequential(nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())

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
