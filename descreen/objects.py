"""Semantic maps for DetailsNet: 25 object probabilities per pixel, from a frozen ADE20K scene parser or a small
network trained jointly with DetailsNet.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from utils.checkpoint import read_checkpoint
from utils.colour import IMAGENET_MEAN, IMAGENET_STD
from utils.errors import UserError

ADE_CLASSES = 150

# Object → merged ADE20K-150 classes, 0-based (Kim & Park 2018).
CLASSES: dict[str, tuple[int, ...]] = {
    "wall": (0, 42),
    "building": (1, 25, 48, 84),
    "sky": (2,),
    "floor": (3,),
    "tree": (4, 72),
    "ceiling": (5,),
    "road": (6, 11, 52, 54),
    "bed": (7, 57),
    "cabinet": (10, 44, 35),
    "person": (12,),
    "earth": (13, 29, 46),
    "door": (14, 58),
    "table": (15, 19, 30, 33, 45, 56, 64, 69, 70, 75, 99, 110),
    "mountain": (16, 34, 68),
    "plant": (17, 9, 66),
    "curtain": (18, 101),
    "car": (20, 80, 83, 90, 102, 116, 127),
    "sofa": (23,),
    "shelf": (24,),
    "sea": (26, 21, 60, 109, 128, 140),
    "lamp": (36, 82, 87),
    "signboard": (43, 100, 123, 142, 144),
    "stairs": (53, 59, 96, 121),
    "toilet": (65, 37),
    "computer": (74, 78, 89, 141, 143),
}


def merge_table() -> Tensor:
    """(25, 150) float32 indicator matrix: entry (o, c) is 1 where class c belongs to object o."""
    table = torch.zeros(len(CLASSES), ADE_CLASSES)
    for row, classes in zip(table, CLASSES.values(), strict=True):
        row[list(classes)] = 1
    return table


class ImageNetInput(nn.Module):
    """BGR in [-1, 1] → RGB normalized for torchvision's pretrained networks, (N, 3, H, W)."""

    def __init__(self):
        super().__init__()
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, bgr: Tensor) -> Tensor:
        return (bgr.flip(1) / 2 + 0.5 - self.mean) / self.std


class SmallObjectNet(nn.Module):
    """Replacement for the parser without pretrained weights: (N, 3, H, W) → (N, 25, H, W), sums to 1.

    Trained without labels, by the loss of DetailsNet alone. Computes at 1/8 of the resolution.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, width // 2), (width // 2, width), (width, width)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, len(CLASSES), 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        return _resize_to(self.layers(image).softmax(dim=1), image)


class ObjectNet(nn.Module):
    """Frozen scene parser: (N, 3, H, W) BGR in [-1, 1] → (N, 25, H, W), merged class probabilities; sums at most 1.

    ResNet-101 with a stem of three 3 × 3 convolutions, dilated to output stride 8, and pyramid pooling over 1, 2, 3 and
    6 cells (PSPNet, Zhao et al., CVPR 2017). State-dict keys of `encoder` and `decoder` match the public ADE20K weights
    resnet101dilated-ppm_deepsup of MIT CSAIL's semantic-segmentation-pytorch.
    """

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder, self.normalize = _dilated_resnet101(), _PyramidPooling(), ImageNetInput()
        self.register_buffer("merge", merge_table(), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "ObjectNet":
        return super().train(False)  # frozen batch-norm statistics

    def forward(self, image: Tensor) -> Tensor:
        probabilities = self.decoder(self.encoder(self.normalize(image))).softmax(dim=1)  # (N, 150, H/8, W/8)
        return _resize_to(torch.einsum("oc,nchw->nohw", self.merge, probabilities), image)

    def load_public_weights(self, folder: str | Path) -> None:
        """Load encoder*.pth and decoder*.pth from a folder. Raises UserError if a file is missing or does not fit."""
        for part, network in (("encoder", self.encoder), ("decoder", self.decoder)):
            found = sorted(Path(folder).glob(f"{part}*.pth"))
            if len(found) != 1:
                raise UserError(f"object_weights: {folder} must contain one {part}*.pth, contains {len(found)}")
            state = read_checkpoint(found[0])["state_dict"]
            kept = {key: value for key, value in state.items() if "deepsup" not in key and not key.startswith("fc.")}
            try:
                network.load_state_dict(kept)
            except RuntimeError as error:
                reason = str(error).splitlines()[-1].strip()
                raise UserError(f"object_weights: {found[0]} does not fit: {reason}") from None


class _PyramidPooling(nn.Module):
    """(N, 2048, h, w) → 150 class scores (N, 150, h, w)."""

    def __init__(self):
        super().__init__()
        self.ppm = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(cells), nn.Conv2d(2048, 512, 1, bias=False), nn.BatchNorm2d(512), nn.ReLU()
            )
            for cells in (1, 2, 3, 6)
        )
        self.conv_last = nn.Sequential(
            nn.Conv2d(2048 + 4 * 512, 512, 3, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.ReLU(),
            nn.Dropout2d(0.1),
            nn.Conv2d(512, ADE_CLASSES, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        pooled = [interpolate(part(x), size=x.shape[2:], mode="bilinear", align_corners=False) for part in self.ppm]
        return self.conv_last(torch.cat((x, *pooled), dim=1))


def _dilated_resnet101() -> nn.Module:
    """torchvision's ResNet-101 without its head, with the deep stem and the attribute names of the public weights."""
    from torchvision.models.resnet import Bottleneck, ResNet  # optional dependency of the parser

    whole = ResNet(Bottleneck, [3, 4, 23, 3], replace_stride_with_dilation=[False, True, True])
    first = whole.layer1[0]
    first.conv1 = nn.Conv2d(128, 64, 1, bias=False)
    first.downsample[0] = nn.Conv2d(128, 256, 1, bias=False)
    parts: dict[str, nn.Module] = {}
    for number, (inputs, outputs, stride) in enumerate(((3, 64, 2), (64, 64, 1), (64, 128, 1)), start=1):
        parts[f"conv{number}"] = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        parts[f"bn{number}"] = nn.BatchNorm2d(outputs)
        parts[f"relu{number}"] = nn.ReLU()
    parts["maxpool"] = nn.MaxPool2d(3, stride=2, padding=1)
    parts |= {name: getattr(whole, name) for name in ("layer1", "layer2", "layer3", "layer4")}
    return nn.Sequential(OrderedDict(parts))


def _resize_to(maps: Tensor, image: Tensor) -> Tensor:
    return interpolate(maps, size=image.shape[2:], mode="bilinear", align_corners=False)
