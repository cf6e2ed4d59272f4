"""Restore a folder of scans and rescreen them, with a given pitch and angles or those of each scan.

    python -m descreen.rescreen --data_dir SCANS [--save_dir OUT] [--pitch 6|auto] [--angles C,M,Y,K|auto] [--dot round]

writes OUT/restored/NAME.png, OUT/screened/NAME.png, OUT/manifest.jsonl and OUT/overview.png, and prints the pitch and
angles of each scan.
Exit code: 0 all done, 2 wrong usage, 3 something was skipped, 130 or 143 interrupted.
"""

import argparse
import math
import sys
from functools import partial

import numpy as np

from descreen.command import make_parser, run
from descreen.screening import rescreen
from halftone.inks import INKS
from halftone.screens import SPOTS
from utils.command import exit_code


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add = parser.add_argument
    add("--pitch", type=_pitch, default=None, help="distance of the dots in pixels, or auto: as in the scan (default)")
    angles = "degrees of cyan, magenta, yellow, black, as in 15,75,0,45 or --angles=-15,75,0,45, or auto (default)"
    add("--angles", type=_angles, default=None, help=angles)
    add("--dot", choices=SPOTS, default="round", help="shape of the dots (default: round)")
    add("--under_colour_removal", type=_share, default=1.0, help="share of gray printed in black, 0 to 1 (default)")
    return parser.parse_args(argv)


def _pitch(text: str) -> float | None:
    if text == "auto":
        return None
    pitch = _number(text)
    if not 2 <= pitch <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is neither auto nor pixels in 2..1000")
    return pitch


def _angles(text: str) -> dict[str, float] | None:
    if text == "auto":
        return None
    angles = [_number(part) for part in text.split(",")]
    if len(angles) != len(INKS) or not np.isfinite(angles).all():
        raise argparse.ArgumentTypeError(f"{text} is neither auto nor four angles, as in 15,75,0,45")
    return dict(zip(INKS, angles, strict=True))


def _share(text: str) -> float:
    share = _number(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share in 0..1")
    return share


def _number(text: str) -> float:
    """The number, or NaN, which no range contains, if the text is not a number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""

    def start() -> int:
        args = parse(argv)
        settings = {name: getattr(args, name) for name in ("pitch", "angles", "dot", "under_colour_removal")}
        return run(args, partial(rescreen, **settings), settings)

    return exit_code(start)


if __name__ == "__main__":
    sys.exit(main())
