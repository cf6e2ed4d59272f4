"""The descreening system as one network: coarse network, EdgeNet, object maps, DetailsNet."""

from inspect import signature
from typing import NamedTuple

import torch
from torch import Tensor, nn

from descreen.config import CoarseNetConfig
from descreen.inks import InkClassifier
from descreen.networks import COARSE_STRIDE, CoarseNet, DetailsNet, EdgeNet
from descreen.objects import CLASSES, ObjectNet, SmallObjectNet
from descreen.residual import ResidualCoarse
from descreen.tone import ToneNet
from model.hourglass import reflect_to_multiple
from model.load import register_network

COARSE_NETS: dict[str, type[nn.Module]] = {"unet": CoarseNet, "residual": ResidualCoarse}
OBJECT_KINDS = ("none", "small", "parser")
PARTS = ("coarse", "edge", "details")
COARSE_DEFAULTS = CoarseNetConfig().model_dump()


class Descreened(NamedTuple):
    """All (N, 3, H, W) except `edges`, (N, 1, H, W) in [0, 1]. Without DetailsNet `restored` is `coarse`."""

    coarse: Tensor
    edges: Tensor | None
    residual: Tensor | None
    restored: Tensor


@register_network
class Descreener(nn.Module):
    """Scan (N, 3, H, W) BGR in [-1, 1] → continuous tone, any H and W; input (N, 7, H, W) with `waves`.

    parts    the first one, two or three of coarse, edge and details: each training stage adds one
    objects  object maps of DetailsNet: "none" (zeros), "small" (SmallObjectNet) or "parser" (ObjectNet)
    tone     a ToneNet, which engine.py applies to whole pictures (trained by train_tone.py)
    coarse   settings of the coarse network: kind, "unet" (published) or "residual"; the others as in the config.
             With `inks` there is an InkClassifier as well, for engine.py, which is trained by train_tone.py
    Raises ValueError for invalid parts and an unknown kind of objects or coarse network.
    """

    def __init__(
        self,
        width: int = 64,
        parts: tuple[str, ...] = ("coarse",),
        objects: str = "none",
        tone: bool = False,
        **coarse,
    ):
        super().__init__()
        if not parts or tuple(parts) != PARTS[: len(parts)]:
            raise ValueError(f"parts must be the first one, two or three of {', '.join(PARTS)}, not {parts}")
        if objects not in OBJECT_KINDS:
            raise ValueError(f"unknown objects {objects!r}, known: {', '.join(OBJECT_KINDS)}")
        self.width, self.parts, self.object_kind = width, tuple(parts), objects if "details" in parts else "none"
        self.settings = COARSE_DEFAULTS | coarse
        kind = self.settings["kind"]
        if kind not in COARSE_NETS:
            raise ValueError(f"unknown coarse network {kind!r}, known: {', '.join(COARSE_NETS)}")
        if self.settings["inks"] and kind != "residual":
            raise ValueError(f'inks: allowed for the coarse network "residual", not for {kind!r}')
        used = signature(COARSE_NETS[kind]).parameters
        self.coarse = COARSE_NETS[kind](width, **{key: value for key, value in self.settings.items() if key in used})
        self.edge = EdgeNet(width // 2) if "edge" in parts else None
        self.details = DetailsNet(width) if "details" in parts else None
        self.objects = None
        if self.object_kind != "none":
            self.objects = SmallObjectNet(width) if self.object_kind == "small" else ObjectNet()
        self.tone = ToneNet() if tone else None
        self.inks = InkClassifier().requires_grad_(False) if self.settings["inks"] else None

    @property
    def receptive_radius(self) -> int:
        """Radius of the receptive field in pixels; a scene parser's covers the whole input and is not counted."""
        return sum(part.receptive_radius for part in (self.coarse, self.edge, self.details) if part is not None)

    @property
    def stride(self) -> int:
        """Stride of the finest feature map, in pixels."""
        return self.coarse.stride if self.details is None else 1

    def arch(self) -> dict:
        """Constructor arguments as plain values, for a checkpoint."""
        whole = {"name": "Descreener", "width": self.width, "parts": list(self.parts), "objects": self.object_kind}
        return whole | {"tone": self.tone is not None} | self.settings

    @classmethod
    def from_arch(cls, arch: dict) -> "Descreener":
        """The inverse of `arch`, with initial weights. Raises ValueError as the constructor."""
        coarse = {key: arch[key] for key in COARSE_DEFAULTS if key in arch}
        return cls(arch["width"], tuple(arch["parts"]), arch["objects"], arch.get("tone", False), **coarse)

    def forward(self, scan: Tensor) -> Descreened:
        height, width = scan.shape[-2:]
        # Every part gets the extended image: its downsampling grid is then the same in a tile as in the whole image.
        scan = reflect_to_multiple(scan, COARSE_STRIDE)
        restored = coarse = self.coarse(scan)
        edges = residual = None
        if self.edge is not None:
            edges = self.edge(coarse).sigmoid()
        if self.details is not None:
            no_maps = coarse.new_zeros(coarse.shape[0], len(CLASSES), *coarse.shape[2:])
            maps = no_maps if self.objects is None else self.objects(coarse)
            residual = self.details(scan[:, :3], coarse, maps, edges)
            restored = coarse + residual
        outputs = (coarse, edges, residual, restored)
        return Descreened(*(None if x is None else x[..., :height, :width] for x in outputs))

    @torch.no_grad()
    def restore(self, scan: Tensor) -> Tensor:
        """Output of the last trained part, without gradients: scan as for `forward` → (N, 3, H, W)."""
        return self.coarse(scan) if self.details is None else self(scan).restored
