"""Train a stage of descreening: CoarseNet, then EdgeNet, then DetailsNet with two discriminators.

python -m descreen.train --config scripts/descreen_coarse.json [--resume auto] [--set key=value ...] [--dry_run]
python -m descreen.train --config scripts/descreen_edge.json
python -m descreen.train --config scripts/descreen_details.json
"""

import sys

from lightning.fabric import Fabric
from torch import nn

from descreen.config import DescreenConfig
from descreen.losses import GRAM_PATCH, GramLoss
from descreen.objectives import CoarseObjective, DetailsObjective, EdgeObjective
from descreen.stream import ScanStream
from descreen.system import PARTS, Descreener
from model.load import load_network
from training.pretrained import vgg_weights
from training.run import run_stage
from utils.errors import UserError

STAGES = {"CoarseNet": "coarse", "EdgeNet": "edge", "DetailsNet": "details"}


def build(config: DescreenConfig) -> nn.Module:
    """Objective of the stage, on the CPU, with the earlier parts loaded from their checkpoint."""
    parts = PARTS[: PARTS.index(STAGES[config.model]) + 1]
    if config.model == "CoarseNet":
        network = Descreener(config.width, parts, **config.coarse_net.model_dump())
        return CoarseObjective(network, config.coarse, _gram("vgg16_bn", config, config.coarse.gram))
    if config.model == "EdgeNet":
        return EdgeObjective(_extend(config, parts, config.coarse_ckpt, "coarse_ckpt"))
    network = _extend(config, parts, config.edge_ckpt, "edge_ckpt")
    if config.objects == "parser":
        if config.object_weights is None:
            raise UserError("object_weights: the parser needs the folder of its public weights; or set objects=small")
        network.objects.load_public_weights(config.object_weights)
    return DetailsObjective(network, config.details, _gram("vgg19_bn", config, config.details.gram, GRAM_PATCH))


def scan_streams(config: DescreenConfig, network: Descreener, fabric: Fabric, photos: dict) -> dict:
    """The photographs of `photo_streams`, printed and scanned; validation scans are identical in every epoch."""
    edges, waves = config.model != "CoarseNet", network.settings["waves"]
    scans = dict(photos)
    for name, kind in (("stream", "exact"), ("validation", "estimated")):
        if photos[name] is not None:
            options = {"rotate": name == "stream", "edges": edges, "waves": kind if waves else None}
            scans[name] = ScanStream(photos[name], config.screens, inks=network.settings["inks"], **options)
    return scans


def _extend(config: DescreenConfig, parts: tuple[str, ...], path: str | None, key: str) -> Descreener:
    """A system of `parts` with all but the last one loaded from the checkpoint of the previous stage.

    Raises UserError when the checkpoint lacks a part or has another width.
    """
    if path is None:
        raise UserError(
            f"{key}: null, allowed: the checkpoint of the stage before, model_best.pth.tar in its run folder"
        )
    trained = load_network(path)
    if trained.width != config.width or not set(parts[:-1]) <= set(trained.parts):
        raise UserError(
            f"{key}: {path} contains {', '.join(trained.parts)} of width {trained.width}, "
            f"needed: {', '.join(parts[:-1])} of width {config.width}"
        )
    network = Descreener(config.width, parts, config.objects, **trained.settings)
    for part in (*parts[:-1], "inks"):
        if (own := getattr(network, part)) is not None:
            own.load_state_dict(getattr(trained, part).state_dict())
    return network


def _gram(name: str, config: DescreenConfig, weight: float, patch: int | None = None) -> GramLoss | None:
    if not weight:
        return None
    return GramLoss(name, vgg_weights(name, config.vgg_weights, f"{STAGES[config.model]}.gram"), patch)


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return run_stage(argv, DescreenConfig, __doc__, build, adapt=scan_streams)


if __name__ == "__main__":
    sys.exit(main())
