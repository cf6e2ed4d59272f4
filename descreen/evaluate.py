"""Compare checkpoints with the methods without learning, on photographs that are printed and scanned here.

    python -m descreen.evaluate --data_dir dataset/ [--model CKPT ...] [--photos 100] [--seed 0] [--json FILE]

Strength and mask of each method are the best on the list's training photographs; the table is over its validation
photographs. AM: colour, pitch 3 to 6 pixels, mild blur and JPEG; then the same from a press with flaws: dot gain, ink
noise, misregistration, tinted paper, resampled. The others: clean FM halftones of the luma.
"found" is the share of restored pictures in which a screen is still found, "visible" how many times the threshold of
the eye what is left of the screen has (descreen/visibility.py), in the mean and in the worst picture: below 1, unseen.
"no notch" is a network without the last step, which cuts the frequencies of the scan's screens out of what it restored.
The margin is over the method without learning of the highest PSNR. A network of several parts has a row for the whole
and one for the coarse part, which says what the adversarial stage costs.
Exit code: 0 done, 2 wrong usage, 130 or 143 interrupted.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dataset.photo_set import PhotoSet
from descreen.baselines import BASELINES, MASKS
from descreen.command import CHECKPOINT, load_trained
from descreen.config import ScreensConfig
from descreen.engine import Restorer, baseline_restorer
from descreen.printing import draw_printing, print_and_scan, truth
from descreen.screen_finder import Screen, find_screens
from descreen.visibility import Frequency, screen_frequencies, visible_screen
from metrics.quality import psnr, ssim
from utils.command import exit_code
from utils.errors import UserError
from utils.files import atomic_write

FLAWED_AM = ScreensConfig(
    line=0.0, fm=0.0, gray=0.0, clean=0.0, pitch_min=3.0, pitch_max=6.0, blur=0.7, grain=1.5, jpeg=80
)
AM = {"AM": FLAWED_AM.model_copy(update={"flawed": 0.0}), "AM, flawed press": FLAWED_AM}
KINDS = (*AM, "floyd_steinberg", "ostromoukhov")
STRENGTHS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
TUNED_ON = 20  # training photographs

Score = dict[str, float]


class Scan(NamedTuple):
    """A printed and scanned photograph and its truth, (H, W, 3) BGR uint8, the screens found and those printed with."""

    picture: np.ndarray
    truth: np.ndarray
    screens: dict[str, Screen]
    frequencies: list[Frequency]


def scans(photos: PhotoSet, count: int, kind: str, seed: int = 0) -> list[Scan]:
    """The first `count` photographs, each printed in a way of its own that `seed` decides; kind: one of KINDS."""

    def made(index: int) -> Scan:
        bgr = np.ascontiguousarray(photos.sample(index).colour.transpose(1, 2, 0))
        printing = draw_printing(AM.get(kind, FLAWED_AM), np.random.default_rng(seed + index))
        if kind not in AM:
            printing = replace(printing, method=kind, gray=True, clean=True)
        picture = print_and_scan(bgr, printing)
        return Scan(picture, truth(bgr, printing), find_screens(picture), screen_frequencies(printing))

    return _side_by_side(made, range(min(count, len(photos))))


def score(restore: Restorer, samples: list[Scan]) -> Score:
    """Means over the scans: "psnr" in dB, "ssim", "found" as a share, "visible" and "worst" in thresholds of the eye.

    The last two only where the screen has frequencies.
    """

    def one(scan: Scan) -> tuple[float, ...]:
        restored = restore(scan.picture, scan.screens)
        found = bool(find_screens(restored))
        visible = visible_screen(restored, scan.truth, scan.frequencies)
        return psnr(scan.truth, restored), ssim(scan.truth, restored), found, visible

    rows = np.array(_side_by_side(one, samples))
    means = dict(zip(("psnr", "ssim", "found", "visible"), rows.mean(axis=0).tolist(), strict=True))
    if not any(scan.frequencies for scan in samples):
        means.pop("visible")
        return means
    return means | {"worst": float(rows[:, 3].max())}


def tuned(method: str, samples: list[Scan]) -> tuple[str, Restorer]:
    """The method at the strength, and with the mask, of the highest mean PSNR; its name says which."""
    best, chosen = -np.inf, ("", None)
    for strength, mask in product(STRENGTHS, MASKS if method == "fft_notch" else MASKS[:1]):
        restore = baseline_restorer(method, strength, mask)
        results = _side_by_side(lambda scan, by=restore: psnr(scan.truth, by(scan.picture, scan.screens)), samples)
        found = np.mean(results)
        if found > best:
            name = f"{method} {strength:g}" + (f" {mask}" if method == "fft_notch" else "")
            best, chosen = found, (name, restore)
    return chosen


def run(args: argparse.Namespace) -> int:
    sets = [PhotoSet.from_lists(args.data_dir, args.list, split) for split in ("train", "val")]
    if min(sets[1].size) < 64 or args.photos < 1:
        raise UserError("photographs of at least 64 pixels a side are needed, and --photos of at least 1")
    if args.seed < 0:
        raise UserError("--seed must be 0 or more")
    if args.json and not args.json.parent.is_dir():
        raise UserError(f"{args.json}: its folder does not exist")
    if args.json and args.json.is_dir():
        raise UserError(f"{args.json}: is a folder, not a file to write")
    networks = _networks(args)
    table: dict[str, dict[str, Score]] = {}
    for kind in KINDS:
        to_tune = scans(sets[0], TUNED_ON, kind)
        methods = dict(tuned(method, to_tune) for method in tqdm(BASELINES, f"tuning for {kind}"))
        methods = {"nothing": lambda scan, screens: scan} | methods | networks
        samples = scans(sets[1], args.photos, kind, args.seed)
        table[kind] = {name: score(restore, samples) for name, restore in tqdm(methods.items(), kind)}
        _add_margins(table[kind], networks)
    _show(table)
    if args.json:
        with atomic_write(args.json) as temporary:
            temporary.write_text(json.dumps(table, indent=4) + "\n", encoding="utf-8")
    return 0


def _networks(args: argparse.Namespace) -> dict[str, Restorer]:
    """The checkpoints, and the coarse part alone of those that have more, by the names of their rows."""
    if args.model is None and not CHECKPOINT.exists():
        print(f"{CHECKPOINT} is not there: only the methods without learning are measured", file=sys.stderr)
        return {}
    paths = args.model or [CHECKPOINT]
    names = [f"{path.parent.name}/{path.name.removesuffix('.pth.tar')}" for path in paths]
    found = {}
    for path, name in zip(paths, names, strict=True):
        engine = load_trained(path, args.device, args.tile)
        if len(paths) == 1:
            name = "network"
        elif names.count(name) > 1:
            name = str(path)
        if engine.network.parts != ("coarse",):
            found[f"{name}, coarse"] = partial(engine.restore, coarse=True)
        found[f"{name}, no notch"] = partial(engine.restore, notch=False)
        found[name] = engine.restore
    return found


def _add_margins(rows: dict[str, Score], networks: Iterable[str]) -> None:
    best = max((row for name, row in rows.items() if name not in networks), key=lambda row: row["psnr"])
    for name in networks:
        rows[name] |= {f"{figure}_margin": rows[name][figure] - best[figure] for figure in ("psnr", "ssim")}


def _show(table: dict[str, dict[str, Score]]) -> None:
    for kind, rows in table.items():
        print(f"{kind:28}{'PSNR dB':>9}{'SSIM':>8}{'found':>8}{'visible':>9}{'worst':>8}{'margin':>16}")
        for name, row in rows.items():
            line = f"  {name:26}{row['psnr']:9.2f}{row['ssim']:8.3f}{row['found']:8.0%}"
            line += f"{row['visible']:9.2f}{row['worst']:8.2f}" if "visible" in row else f"{'':17}"
            if "psnr_margin" in row:
                line += f"{row['psnr_margin']:+10.2f} {row['ssim_margin']:+.3f}"
            print(line)


def _side_by_side(function: Callable, items: Iterable) -> list:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=Path, default=Path("dataset"), help="folder of the list")
    add("--list", default="HalftoneVOC2012.json", help="photographs, as for training (default: HalftoneVOC2012.json)")
    add("--model", type=Path, nargs="+", help="checkpoints (default: the shipped)")
    add("--photos", type=int, default=100, help="how many validation photographs (default: 100)")
    add("--seed", type=int, default=0, help="of how the validation photographs are printed (default: 0)")
    add("--json", type=Path, help="also write the table here")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA where there is one)")
    add("--tile", type=int, help="pixels a side that pass through the network at once")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
