"""Networks of the descreening system (Kim & Park, SIGGRAPH 2018). Images are (N, 3, H, W) BGR in [-1, 1].

`width` is the channel count of CoarseNet and DetailsNet at full resolution; 64 in the paper.
"""

import math

import torch
from torch import Tensor, nn

from descreen.objects import CLASSES
from halftone.inks import INKS
from model.filters import gaussian_blur
from model.hourglass import reflect_to_multiple

COARSE_STRIDE = 32
"""Total stride of CoarseNet, five levels."""


class CoarseNet(nn.Module):
    """U-Net that removes the screen: (N, 3, H, W) → (N, 3, H, W), unbounded; input (N, 7, H, W) with `waves`.

    Sides are extended by reflection to multiples of 32.

    deepest  maximal channels of a layer; None: 8 · width, as published
    blur     σ in pixels: predict a residual to the Gaussian blur of the scan, zero at initialization; 0: predict the
             image, as published
    waves    four screen-phase channels (descreen/waves.py) follow those of the scan
    """

    receptive_radius, stride = 95, 1

    def __init__(self, width: int, deepest: int | None, blur: float, waves: bool):
        super().__init__()
        self.blur, self.inputs = blur, 3 + len(INKS) * waves
        channels = [min(width * 2**level, deepest or 8 * width) for level in (0, 1, 2, 3, 3)]
        pairs = zip([self.inputs, *channels[:-1]], channels, strict=True)
        self.down = nn.ModuleList(_down(*pair, norm=0 < level < 4) for level, pair in enumerate(pairs))
        rising = channels[-2::-1]
        inputs = [channels[-1], *(2 * count for count in rising)]  # doubled by the skip connections
        self.up = nn.ModuleList(_up(*pair) for pair in zip(inputs, [*rising, rising[-1]], strict=True))
        half = channels[0]
        self.out = nn.Sequential(
            nn.ConvTranspose2d(half, half, 3, padding=1), nn.ELU(), nn.Conv2d(half, 3, 3, padding=1)
        )
        self._init_weights()

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

    def _init_weights(self) -> None:
        """Variance-preserving initialization (He et al., ICCV 2015); zero output layer with `blur`."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                inputs = layer.in_channels * math.prod(layer.kernel_size)
                if isinstance(layer, nn.ConvTranspose2d):
                    inputs /= math.prod(layer.stride)
                gain = 0 if layer is self.out[-1] and self.blur else math.sqrt(2)
                nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
                nn.init.zeros_(layer.bias)


class EdgeNet(nn.Module):
    """Edge logits: (N, 3, H, W) → (N, 1, H, W). `channels` is 32 in the paper."""

    receptive_radius = 11

    def __init__(self, channels: int = 32):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (3, *[channels] * 4):
            layers += [nn.Conv2d(inputs, channels, 5, padding=2), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


class DetailsNet(nn.Module):
    """Residual to the coarse image: (N, 32, H, W) → (N, 3, H, W) in [-1, 1], with a zero-initialized output layer.

    Input channels: scan, coarse image, 25 object maps, edge map.
    """

    receptive_radius = 9

    def __init__(self, width: int = 64):
        super().__init__()
        self.enter = _conv_pair(3 + 3 + len(CLASSES) + 1, width)
        self.residual = nn.ModuleList([_conv_pair(width, width) for _ in range(3)])
        self.leave = nn.Sequential(nn.Conv2d(width, 3, 3, padding=1), nn.Tanh())
        nn.init.zeros_(self.leave[0].weight)
        nn.init.zeros_(self.leave[0].bias)

    def forward(self, scan: Tensor, coarse: Tensor, objects: Tensor, edges: Tensor) -> Tensor:
        x = self.enter(torch.cat((scan, coarse, objects, edges), dim=1))
        for block in self.residual:
            x = x + block(x)
        return self.leave(x)


class ResidualDiscriminator(nn.Module):
    """D1, on the residual to the coarse image: (N, 3, H, W) → (N, 1, H/32, W/32), H and W at least 32."""

    def __init__(self, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(*_strided(3, width, kernel=4, padding=1), nn.Conv2d(32 * width, 1, 1))

    def forward(self, residual: Tensor) -> Tensor:
        return self.layers(residual)


class TripleDiscriminator(nn.Module):
    """D2, on scan, ground truth and output: 3 × (N, 3, H, W) → (N, 1, h, w).

    Convolutions without padding require sides of at least 221 pixels; smaller images are extended by reflection.
    """

    MIN_SIDE = 221

    def __init__(self, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(*_strided(9, width, kernel=5, padding=0), nn.Conv2d(32 * width, 1, 4))

    def forward(self, scan: Tensor, truth: Tensor, output: Tensor) -> Tensor:
        x = torch.cat((scan, truth, output), dim=1)
        if min(x.shape[-2:]) < self.MIN_SIDE:
            x = reflect_to_multiple(x, self.MIN_SIDE)
        return self.layers(x)


def blurred(scan: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of the scan, in float32 also under autocast: half precision would quantize its levels."""
    with torch.autocast(scan.device.type, enabled=False):
        return gaussian_blur(scan.float(), 2 * math.ceil(3 * sigma) + 1, sigma, "renormalize")


def _down(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    layers = [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.LeakyReLU(0.2, inplace=True))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.ELU())


def _conv_pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _strided(inputs: int, width: int, kernel: int, padding: int) -> list[nn.Module]:
    """Five stride-2 convolutions to 2, 4, 8, 16 and 32 · `width` channels, with batch norm after the first."""
    layers: list[nn.Module] = []
    for level in range(1, 6):
        outputs = width * 2**level
        layers.append(nn.Conv2d(inputs, outputs, kernel, stride=2, padding=padding))
        if level > 1:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        inputs = outputs
    return layers
