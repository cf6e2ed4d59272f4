"""Compare a checkpoint with the methods without learning, on photographs that are printed and scanned here.

    python -m descreen.evaluate --data_dir dataset/ [--model CKPT] [--photos 100] [--json FILE]

Strength and mask of each method are the best on the list's training photographs; the table is over its validation
photographs. AM: colour, pitch 3 to 6 pixels, mild blur and JPEG. The others: clean FM halftones of the luma.
"screens" is the share of restored pictures in which a screen is still found.
"""

import argparse
import json
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from descreen.baselines import MASKS, METHODS
from descreen.command import CHECKPOINT, trained
from descreen.config import ScreensConfig
from descreen.engine import Restore, classical
from descreen.printing import draw_printing, print_and_scan, truth
from descreen.screen_finder import Screen, find_screens
from utils.errors import UserError
from utils.files import atomic_write
from utils.folder_run import exit_code
from utils.metrics import psnr, ssim
from utils.photo_set import PhotoSet

AM = ScreensConfig(line=0.0, fm=0.0, gray=0.0, clean=0.0, pitch_min=3.0, pitch_max=6.0, blur=0.7, grain=1.5, jpeg=80)
KINDS = ("AM", "floyd_steinberg", "ostromoukhov")
STRENGTHS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
TUNED_ON = 20  # training photographs

Scan = tuple[np.ndarray, np.ndarray, dict[str, Screen]]  # the scan and its truth, (H, W, 3) BGR uint8; its screens
Score = dict[str, float]


def scans(photos: PhotoSet, count: int, kind: str) -> list[Scan]:
    """The first `count` photographs, each printed in a way of its own; kind: "AM" or an FM method."""
    found = []
    for index in range(min(count, len(photos))):
        bgr = np.ascontiguousarray(photos.sample(index).colour.transpose(1, 2, 0))
        printing = draw_printing(AM, np.random.default_rng(index))
        if kind != "AM":
            printing = replace(printing, method=kind, gray=True, clean=True)
        scan = print_and_scan(bgr, printing)
        found.append((scan, truth(bgr, printing), find_screens(scan)))
    return found


def score(restore: Restore, samples: list[Scan]) -> Score:
    """Means over the scans: "psnr" in dB, "ssim", and "screens" as a share."""
    rows = []
    for scan, target, screens in samples:
        restored = restore(scan, screens)
        rows.append((psnr(target, restored), ssim(target, restored), bool(find_screens(restored))))
    return dict(zip(("psnr", "ssim", "screens"), np.mean(rows, axis=0).tolist(), strict=True))


def tuned(method: str, samples: list[Scan]) -> tuple[str, Restore]:
    """The method at the strength, and with the mask, of the highest mean PSNR; its name says which."""
    best, chosen = -np.inf, ("", None)
    for strength, mask in product(STRENGTHS, MASKS if method == "fft_notch" else MASKS[:1]):
        restore = classical(method, strength, mask)
        found = np.mean([psnr(target, restore(scan, screens)) for scan, target, screens in samples])
        if found > best:
            name = f"{method} {strength:g}" + (f" {mask}" if method == "fft_notch" else "")
            best, chosen = found, (name, restore)
    return chosen


def run(args: argparse.Namespace) -> int:
    sets = [PhotoSet.from_lists(args.data_dir, args.list, split) for split in ("train", "val")]
    if min(sets[1].size) < 64 or args.photos < 1:
        raise UserError("photographs of at least 64 pixels a side are needed, and --photos of at least 1")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"{args.json}: its folder does not exist")
    network = None if args.model == CHECKPOINT and not CHECKPOINT.exists() else trained(args)
    if network is None:
        print(f"{CHECKPOINT} is not there: only the methods without learning are measured", file=sys.stderr)
    table: dict[str, dict[str, Score]] = {}
    for kind in KINDS:
        to_tune = scans(sets[0], TUNED_ON, kind)
        methods = dict(tuned(method, to_tune) for method in tqdm(METHODS, f"tuning for {kind}"))
        if network is not None:
            methods["network"] = network
        samples = scans(sets[1], args.photos, kind)
        methods = {"nothing": lambda scan, screens: scan} | methods
        table[kind] = {name: score(restore, samples) for name, restore in tqdm(methods.items(), kind)}
    for kind, rows in table.items():
        print(f"{kind:28}{'PSNR dB':>9}{'SSIM':>8}{'screens':>9}")
        for name, row in rows.items():
            print(f"  {name:26}{row['psnr']:9.2f}{row['ssim']:8.3f}{row['screens']:9.0%}")
    if args.json:
        with atomic_write(args.json) as temporary:
            temporary.write_text(json.dumps(table, indent=4) + "\n", encoding="utf-8")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=Path, default=Path("dataset"), help="folder of the list")
    add("--list", default="HalftoneVOC2012.json", help="photographs, as for training (default: HalftoneVOC2012.json)")
    add("--model", type=Path, default=CHECKPOINT, help="checkpoint (default: the shipped)")
    add("--photos", type=int, default=100, help="how many validation photographs (default: 100)")
    add("--json", type=Path, help="also write the table here")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA where there is one)")
    add("--tile", type=int, help="pixels a side that pass through the network at once")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
