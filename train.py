"""Stage 2, joint training: blue-noise halftone and restored photograph.

python train.py --config scripts/invhalf_full.json [--resume auto] [--set key=value ...] [--dry_run]
"""

import sys

from reshalf.config import JointConfig
from reshalf.stages import build_joint
from reshalf.streams import halftone_streams
from training.run import run_stage


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit code."""
    return run_stage(argv, JointConfig, __doc__, build_joint, adapt=halftone_streams)


if __name__ == "__main__":
    sys.exit(main())
