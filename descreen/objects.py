"""What is where in a picture, as 25 probability maps: a scene parser whose 150 ADE20K classes are merged, or a small
network with the same interface that is trained together with DetailsNet.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from utils.checkpoint import read_checkpoint
from utils.errors import UserError

ADE_CLASSES = 150

# Object → the ADE20K-150 classes, counted from 0, whose probabilities are summed to its own (Kim & Park 2018).
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
    """(25, 150) float32: row o has ones at the classes of object o."""
    table = torch.zeros(len(CLASSES), ADE_CLASSES)
    for row, classes in zip(table, CLASSES.values(), strict=True):
        row[list(classes)] = 1
    return table


class SmallObjectNet(nn.Module):
    """Stand-in for the parser where its weights are not at hand: (N, 3, H, W) → (N, 25, H, W), sums to 1.

    It has no labels to learn from: its maps become what helps the details. Looks at an eighth of the resolution.
    """

    def __init__(self, width: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, width // 2), (width // 2, width), (width, width)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, len(CLASSES), 3, padding=1))

    def forward(self, picture: Tensor) -> Tensor:
        return _at_size(self.layers(picture).softmax(dim=1), picture)


class ObjectNet(nn.Module):
    """Frozen scene parser: (N, 3, H, W) BGR in [-1, 1] → (N, 25, H, W), merged probabilities; sums are at most 1.

    ResNet-101 with a stem of three 3 × 3 convolutions, dilated to output stride 8, and pyramid pooling over 1, 2, 3 and
    6 cells (Zhao et al., CVPR 2017). The keys of `encoder` and `decoder` are those of the public ADE20K weights of MIT
    CSAIL's semantic-segmentation-pytorch, resnet101dilated-ppm_deepsup; see `load_public_weights`.
    """

    def __init__(self):
        super().__init__()
        self.encoder = _dilated_resnet101()
        self.decoder = _PyramidPooling()
        self.register_buffer("merge", merge_table(), persistent=False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "ObjectNet":
        return super().train(False)  # its statistics stay those of its own training

    def forward(self, picture: Tensor) -> Tensor:
        rgb = (picture.flip(1) / 2 + 0.5 - self.mean) / self.deviation
        probabilities = self.decoder(self.encoder(rgb)).softmax(dim=1)  # (N, 150, H/8, W/8)
        return _at_size(torch.einsum("oc,nchw->nohw", self.merge, probabilities), picture)

    def load_public_weights(self, folder: str | Path) -> None:
        """Load the released encoder*.pth and decoder*.pth of a folder. Raises UserError naming what does not fit."""
        for part, network in (("encoder", self.encoder), ("decoder", self.decoder)):
            found = sorted(Path(folder).glob(f"{part}*.pth"))
            if len(found) != 1:
                raise UserError(f"object_weights: {folder} must hold one {part}*.pth, holds {len(found)}")
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
    """torchvision's ResNet-101 up to its last feature map, with the deep stem and the weights' attribute names."""
    from torchvision.models.resnet import Bottleneck, ResNet  # only the parser needs torchvision

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
    encoder = nn.Sequential()
    for name, part in parts.items():
        encoder.add_module(name, part)
    return encoder


def _at_size(maps: Tensor, picture: Tensor) -> Tensor:
    return interpolate(maps, size=picture.shape[2:], mode="bilinear", align_corners=False)
