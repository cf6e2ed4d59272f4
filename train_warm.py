"""Stage 1, warm-up: the encoder learns to dither, guided by what the extractor sees in error-diffused halftones.

python train_warm.py --config scripts/invhalf_warm.json [--resume auto] [--set key=value ...] [--dry-run]
"""

import sys

from torch import nn

from model.build import build_network, new_reshalf
from model.objectives import build_objective
from model.reshalf import InverseHalf
from utils.checkpoint import load_network
from utils.config import WarmConfig
from utils.errors import UserError
from utils.pretrained import load_proxy
from utils.training import run_stage


def build(config: WarmConfig) -> nn.Module:
    """The warm-up objective with a fresh network and the trained extractor, on the CPU."""
    extractor = None
    if config.featureLossWeight:
        try:
            extractor = load_network(config.extractor_ckpt, build_network)
        except UserError as error:
            raise UserError(f"extractor_ckpt: {error}; train_invhalf.py makes one") from None
        if not isinstance(extractor, InverseHalf):
            raise UserError(f"extractor_ckpt: {config.extractor_ckpt} is no InverseHalf; train_invhalf.py makes one")
    network = new_reshalf(config, load_proxy(config, build_network))
    return build_objective(config, network, extractor=extractor)


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return run_stage(argv, "warm", __doc__, build)


if __name__ == "__main__":
    sys.exit(main())
