"""Stage 0: InverseHalf learns gray from error-diffused halftones; it then guides the warm-up as a fixed extractor.

python train_invhalf.py --config scripts/inversehalf.json [--resume auto] [--set key=value ...] [--dry-run]
"""

import sys

from torch import nn

from model.objectives import build_objective
from model.reshalf import InverseHalf
from utils.config import InvHalfConfig
from utils.training import run_stage


def build(config: InvHalfConfig) -> nn.Module:
    """The objective with a fresh network, on the CPU."""
    return build_objective(config, InverseHalf(config.width))


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return run_stage(argv, "invhalf", __doc__, build)


if __name__ == "__main__":
    sys.exit(main())
