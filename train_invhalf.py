"""Stage 0: InverseHalf, error-diffused halftone → gray; the warm-up uses it as a fixed feature extractor.

python train_invhalf.py --config scripts/inversehalf.json [--resume auto] [--set key=value ...] [--dry_run]
"""

import sys

from reshalf.config import InvHalfConfig
from reshalf.stages import build_invhalf
from training.run import run_stage


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return run_stage(argv, InvHalfConfig, __doc__, build_invhalf)


if __name__ == "__main__":
    sys.exit(main())
