"""The whole descreening system as one network, as far as it has been trained."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from descreen.networks import COARSE_STRIDE, CoarseNet, DetailsNet, EdgeNet
from descreen.objects import CLASSES, ObjectNet, SmallObjectNet
from descreen.residual import ResidualCoarse
from model.hourglass import reflect_to_multiple
from model.load import register_network

COARSE_NETS: dict[str, type[nn.Module]] = {"unet": CoarseNet, "residual": ResidualCoarse}
OBJECT_NETS: dict[str, type[nn.Module] | None] = {"none": None, "small": SmallObjectNet, "parser": ObjectNet}
PARTS = ("coarse", "edge", "details")
COARSE = {"kind": "unet", "deepest": None, "blur": 0.0, "waves": False}


class Descreened(NamedTuple):
    """`restored` is `coarse` where there is no DetailsNet; all (N, 3, H, W) but `edges`, (N, 1, H, W) in [0, 1]."""

    coarse: Tensor
    edges: Tensor | None
    residual: Tensor | None
    restored: Tensor


@register_network
class Descreener(nn.Module):
    """Scan (N, 3, H, W) BGR in [-1, 1] → continuous tone, any H, W; where it sees `waves`, (N, 7, H, W).

    parts    which of coarse, edge and details it has, in this order: a system grows stage by stage
    objects  "none": DetailsNet sees zeros instead of object maps; "small": SmallObjectNet; "parser": ObjectNet
    kind     of the coarse network: "unet", as published, or "residual"; deepest, blur, waves: see there
    Raises ValueError for parts that do not build on one another or an unknown kind of objects or coarse network.
    """

    def __init__(self, width: int = 64, parts: tuple[str, ...] = ("coarse",), objects: str = "none", **coarse):
        super().__init__()
        if not parts or tuple(parts) != PARTS[: len(parts)]:
            raise ValueError(f"parts must be the first one, two or three of {', '.join(PARTS)}, not {parts}")
        if objects not in OBJECT_NETS:
            raise ValueError(f"unknown objects {objects!r}, known: {', '.join(OBJECT_NETS)}")
        self.width, self.parts, self.object_kind = width, tuple(parts), objects if "details" in parts else "none"
        self.settings = COARSE | coarse
        kind, settings = self.settings["kind"], {key: self.settings[key] for key in COARSE if key != "kind"}
        if kind not in COARSE_NETS:
            raise ValueError(f"unknown coarse network {kind!r}, known: {', '.join(COARSE_NETS)}")
        self.coarse = COARSE_NETS[kind](width, **settings)
        self.edge = EdgeNet(width // 2) if "edge" in parts else None
        self.details = DetailsNet(width) if "details" in parts else None
        self.objects = None
        if self.object_kind == "small":
            self.objects = SmallObjectNet(width)
        elif self.object_kind == "parser":
            self.objects = ObjectNet()

    def arch(self) -> dict:
        """What a checkpoint needs to rebuild this system, as plain values."""
        own = {"name": "Descreener", "width": self.width, "parts": list(self.parts), "objects": self.object_kind}
        return own | self.settings

    @classmethod
    def from_arch(cls, arch: dict) -> "Descreener":
        """The untrained system that `arch` describes; ValueError as the constructor raises it."""
        coarse = {key: arch[key] for key in COARSE if key in arch}
        return cls(arch["width"], tuple(arch["parts"]), arch["objects"], **coarse)

    def forward(self, scan: Tensor) -> Descreened:
        height, width = scan.shape[-2:]
        # All parts see the extended picture: so the grids of the halved ones lie the same in a tile as in the whole.
        found = self._aligned(reflect_to_multiple(scan, COARSE_STRIDE))
        return Descreened(*(None if part is None else part[..., :height, :width] for part in found))

    def _aligned(self, scan: Tensor) -> Descreened:
        coarse = self.coarse(scan)
        edges = None if self.edge is None else self.edge(coarse).sigmoid()
        if self.details is None:
            return Descreened(coarse, edges, None, coarse)
        if self.objects is None:
            maps = coarse.new_zeros(coarse.shape[0], len(CLASSES), *coarse.shape[2:])
        else:
            maps = self.objects(coarse)
        residual = self.details(scan[:, :3], coarse, maps, edges)
        return Descreened(coarse, edges, residual, coarse + residual)

    @torch.no_grad()
    def restore(self, scan: Tensor) -> Tensor:
        """The best the trained parts can do: a scan as for the whole → (N, 3, H, W)."""
        return self.coarse(scan) if self.details is None else self(scan).restored
