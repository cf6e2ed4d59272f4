"""Stage 2, joint training: the halftone looks like blue noise and the photograph comes back from it.

python train.py --config scripts/invhalf_full.json [--resume auto] [--set key=value ...] [--dry-run]
"""

import sys

from torch import nn

from model.build import build_network, new_reshalf
from model.objectives import build_objective
from utils.config import JointConfig
from utils.pretrained import load_proxy, vgg_weights
from utils.training import run_stage


def build(config: JointConfig) -> nn.Module:
    """The joint objective with a fresh network, on the CPU."""
    network = new_reshalf(config, load_proxy(config, build_network))
    vgg = vgg_weights("vgg19", config.vgg_weights) if config.vggLossWeight else None
    return build_objective(config, network, vgg_weights=vgg)


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return run_stage(argv, "joint", __doc__, build)


if __name__ == "__main__":
    sys.exit(main())
