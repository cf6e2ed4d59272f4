"""Stage 1, warm-up: the encoder learns to halftone; a fixed extractor compares it with error diffusion.

python train_warm.py --config scripts/invhalf_warm.json [--resume auto] [--set key=value ...] [--dry_run]
"""

import sys

from reshalf.config import WarmConfig
from reshalf.stages import build_warm
from reshalf.streams import halftone_streams
from training.run import run_stage


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return run_stage(argv, WarmConfig, __doc__, build_warm, adapt=halftone_streams)


if __name__ == "__main__":
    sys.exit(main())
