"""Flags that the commands over a folder share."""

import argparse

from images.files import MAX_PIXELS


def add_job_flags(parser: argparse.ArgumentParser) -> None:
    """Add --recursive, --skip_existing, --device and --max_pixels."""
    add = parser.add_argument
    add("--recursive", action="store_true", help="include subfolders and keep their structure")
    add("--skip_existing", "--skip-existing", action="store_true", help="skip inputs that an earlier run has finished")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA if available)")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="larger images are skipped")
