"""Restore continuous tone from a folder of printed or screened images.

    python -m descreen.restore --data_dir SCANS [--save_dir OUT] [--method network|gaussian|fft_notch|bilateral]

writes OUT/restored/NAME.png, OUT/manifest.jsonl and OUT/overview.png, and prints the pitch and angles of each scan.
Exit code: 0 all done, 2 wrong usage, 3 something was skipped, 130 or 143 interrupted.
"""

import sys

from descreen.command import make_parser, run
from utils.command import exit_code


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return exit_code(lambda: run(make_parser(__doc__).parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
