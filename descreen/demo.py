"""Simulate printing and scanning of the photographs in test_imgs/, restore the scans, and rescreen one image.

    python -m descreen.demo [--save_dir result/descreen] [--model CKPT] [--picture FILE.jpg]

writes SAVE_DIR/scans/, restored/, screened/ and demo.png, which shows photograph, scan, restoration and, in the first
row, the new screen. --picture writes three of its rows to FILE. Without a checkpoint the bilateral filter is used, the
best method without learning.
Exit code: 0 done, 2 wrong usage, 3 a scan was skipped, 130 or 143 interrupted.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from descreen import restore
from descreen.command import IDEAL_INKS
from descreen.config import ScreensConfig
from descreen.printing import draw_printing, print_and_scan
from descreen.regions import find_regions
from descreen.scan_job import SCREENED
from descreen.screening import rescreen
from images.files import read_image, write_image
from images.listing import list_images
from images.overview import middle, write_overview
from jobs.tasks import RESTORED
from metrics.quality import psnr
from utils.command import exit_code

PHOTOS = Path(__file__).parents[1] / "test_imgs"
SCREENS = ScreensConfig(
    line=0.0, fm=0.0, gray=0.0, clean=0.0, pitch_min=4.0, pitch_max=6.0, blur=0.7, grain=1.5, jpeg=80
)
NEW_PITCH = 7.0
PICTURE_ROWS = ("china", "flower", "grace_hopper")
CROP = 256
"""Side in pixels of the centre crops in demo.png, which are not scaled, so that single dots are visible."""


def run(args: argparse.Namespace) -> int:
    """Run the demonstration; returns the exit code of the restoration."""
    photos = {path.stem: read_image(path).bgr for path in list_images(PHOTOS)}
    folder, out = args.save_dir / "scans", args.save_dir
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, photo) in enumerate(photos.items()):
        printing = draw_printing(SCREENS, np.random.default_rng(number))
        write_image(folder / f"{name}.png", print_and_scan(photo, printing))
    method = ["--model", str(args.model)]
    if args.model == IDEAL_INKS and not IDEAL_INKS.exists():
        print(f"{IDEAL_INKS.name} is missing: the bilateral filter is used instead", file=sys.stderr)
        method = ["--method", "bilateral"]
    code = restore.main(["--data_dir", str(folder), "--save_dir", str(out), *method])
    if code:
        return code
    rows = []
    for name, photo in photos.items():
        scan, restored = (read_image(part / f"{name}.png").bgr for part in (folder, out / RESTORED))
        print(f"{name:20} scan {psnr(photo, scan):5.2f} dB, restored {psnr(photo, restored):5.2f} dB")
        images = [photo, scan, restored]
        if not rows:
            images.append(rescreen(restored, find_regions(scan), NEW_PITCH))
            (out / SCREENED).mkdir(exist_ok=True)
            write_image(out / SCREENED / f"{name}.png", images[-1])
        rows.append([middle(image, CROP) for image in images])
    write_overview(out / "demo.png", rows)
    if args.picture:
        write_overview(args.picture, [row[:3] for name, row in zip(photos, rows, strict=True) if name in PICTURE_ROWS])
    print(f"see {out / 'demo.png'}: photograph, scan, restoration; {next(iter(photos))} with a new screen as well")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--save_dir", type=Path, default=Path("result/descreen"), help="default: %(default)s")
    add("--model", type=Path, default=IDEAL_INKS, help="checkpoint (default: that for ideal inks)")
    add("--picture", type=Path, help="also write three rows of demo.png to this file")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
