"""Compare checkpoints with the baseline filters on simulated prints and scans of photographs.

    python -m descreen.evaluate --data_dir dataset/ [--model CKPT ...] [--photos 100] [--seed 0] [--json FILE]
                                [--inks auto|ideal|process] [--kinds AM "magazine 175 lpi, 300 dpi" ...]

Strength and mask of each baseline are tuned on training photographs of the list; the table is over its validation
photographs. "AM": colour, pitch 3 to 6 pixels, mild blur and JPEG. "AM, flawed press": the same with dot gain, ink
noise, misregistration, paper tint and resampling. "magazine" and "newsprint": such a press at a given screen and
resolution of the scan; "process inks": the same with the inks of offset printing, averaged in linear light, every
second scan sharpened. The others: ideal FM halftones of the luma.
Columns: "found", share of restored images in which a screen is detected; "visible" and "worst", mean and maximal
visibility of the residual screen in multiples of the contrast threshold (descreen/visibility.py), invisible below 1;
"margin", difference to the baseline of the highest PSNR. Rows "no notch" and "no tone": the network without the
notch filter on its output, and without its tone network. Networks of several parts have another row for the coarse part
alone, without the adversarial stage.
Exit code: 0 done, 2 wrong usage, 130 or 143 interrupted.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset.photo_set import PhotoSet
from descreen.baselines import BASELINES, MASKS
from descreen.command import SHIPPED, add_inks_flag, check_output_file, kind_of_inks, load_trained
from descreen.config import ScreensConfig
from descreen.engine import Restorer, baseline_restorer
from descreen.printing import NEWSPRINT, draw_printing, ground_truth, print_and_scan
from descreen.regions import Region, find_regions
from descreen.screen_finder import find_screens
from descreen.visibility import Frequency, screen_frequencies, screen_visibility
from metrics.quality import psnr, ssim
from utils.command import exit_code
from utils.errors import UserError
from utils.files import write_json
from utils.progress import progress

FLAWED_AM = ScreensConfig(
    line=0.0, fm=0.0, gray=0.0, clean=0.0, pitch_min=3.0, pitch_max=6.0, blur=0.7, grain=1.5, jpeg=80
)
PRINTS = {"magazine": ((133, 150, 175), {}), "newsprint": ((85,), NEWSPRINT)}
"""Screens in lines per inch."""
INKS = {"": {}, ", process inks": {"process_inks": 1.0, "sharpened": 0.5}}
AM = {"AM": FLAWED_AM.model_copy(update={"flawed": 0.0}), "AM, flawed press": FLAWED_AM} | {
    f"{name} {lines} lpi, {dpi} dpi{suffix}": FLAWED_AM.model_copy(
        update={"pitch_min": dpi / lines, "pitch_max": dpi / lines, "resample": 0.0} | press | inks
    )
    for suffix, inks in INKS.items()
    for dpi in (300, 600)
    for name, (screens, press) in PRINTS.items()
    for lines in screens
}
KINDS = (*AM, "floyd_steinberg", "ostromoukhov")
STRENGTHS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)
TUNING_PHOTOS = 20

Score = dict[str, float]


class Scan(NamedTuple):
    """A simulated scan and its ground truth, (H, W, 3) BGR uint8, with detected regions and printed frequencies."""

    image: np.ndarray
    truth: np.ndarray
    regions: list[Region]
    frequencies: list[Frequency]


def make_scans(photos: PhotoSet, count: int, kind: str, seed: int = 0) -> list[Scan]:
    """Scans of the first `count` photographs, with printing parameters from `seed` + index; kind: one of KINDS."""

    def make(index: int) -> Scan:
        bgr = np.ascontiguousarray(photos.sample(index).colour.transpose(1, 2, 0))
        printing = draw_printing(AM.get(kind, FLAWED_AM), np.random.default_rng(seed + index))
        if kind not in AM:
            printing = replace(printing, method=kind, gray=True, clean=True)
        image = print_and_scan(bgr, printing)
        return Scan(image, ground_truth(bgr, printing), find_regions(image), screen_frequencies(printing))

    return _parallel_map(make, range(min(count, len(photos))))


def score(restore: Restorer, scans: list[Scan]) -> Score:
    """Means over the scans: "psnr" in dB, "ssim", "found" as a share; for AM also "visible" and its maximum "worst"."""

    def one(scan: Scan) -> tuple[float, ...]:
        restored = restore(scan.image, scan.regions)
        visible = screen_visibility(restored, scan.truth, scan.frequencies)
        return psnr(scan.truth, restored), ssim(scan.truth, restored), bool(find_screens(restored)), visible

    rows = np.array(_parallel_map(one, scans))
    means = dict(zip(("psnr", "ssim", "found", "visible"), rows.mean(axis=0).tolist(), strict=True))
    if any(scan.frequencies for scan in scans):
        return means | {"worst": float(rows[:, 3].max())}
    del means["visible"]
    return means


def tune(method: str, scans: list[Scan]) -> tuple[str, Restorer]:
    """Row name and restorer of a baseline at the strength and mask of the highest mean PSNR."""
    best, chosen = -np.inf, ("", None)
    for strength, mask in product(STRENGTHS, MASKS if method == "fft_notch" else MASKS[:1]):
        restore = baseline_restorer(method, strength, mask)
        results = _parallel_map(lambda scan, by=restore: psnr(scan.truth, by(scan.image, scan.regions)), scans)
        if np.mean(results) > best:
            name = f"{method} {strength:g}" + (f" {mask}" if method == "fft_notch" else "")
            best, chosen = np.mean(results), (name, restore)
    return chosen


def run(args: argparse.Namespace) -> int:
    tuning, validation = (PhotoSet.from_lists(args.data_dir, args.list, split) for split in ("train", "val"))
    if min(validation.size) < 64 or args.photos < 1:
        raise UserError("photographs of at least 64 pixels a side are needed, and --photos of at least 1")
    if args.seed < 0:
        raise UserError("--seed must be 0 or more")
    if args.json:
        check_output_file(args.json)
    networks = _networks(args)
    table: dict[str, dict[str, Score]] = {}
    for kind in args.kinds:
        tuning_scans = make_scans(tuning, TUNING_PHOTOS, kind)
        methods = dict(tune(method, tuning_scans) for method in progress(BASELINES, f"tuning for {kind}"))
        methods = {"nothing": lambda scan, regions: scan} | methods | networks
        scans = make_scans(validation, args.photos, kind, args.seed)
        table[kind] = {name: score(restore, scans) for name, restore in progress(methods.items(), kind)}
        best = max((row for name, row in table[kind].items() if name not in networks), key=lambda row: row["psnr"])
        for row in map(table[kind].get, networks):
            row |= {f"{figure}_margin": row[figure] - best[figure] for figure in ("psnr", "ssim")}
        _print_rows(kind, table[kind])
    if args.json:
        write_json(args.json, table)
    return 0


def _networks(args: argparse.Namespace) -> dict[str, Restorer]:
    """Restorers of the checkpoints by row name: complete, without notch filter and, with several parts, coarse only."""
    if args.model is None and not SHIPPED.exists():
        print(f"{SHIPPED} does not exist: only the baselines are evaluated", file=sys.stderr)
        return {}
    paths = args.model or [SHIPPED]
    names = [f"{path.parent.name}/{path.name.removesuffix('.pth.tar')}" for path in paths]
    found = {}
    for path, name in zip(paths, names, strict=True):
        engine = load_trained(path, args.device, args.tile)
        restore = partial(engine.restore, inks=kind_of_inks(args.inks, engine, path))
        if len(paths) == 1:
            name = "network"
        elif names.count(name) > 1:
            name = str(path)
        if engine.network.parts != ("coarse",):
            found[f"{name}, coarse"] = partial(restore, coarse=True)
        found[f"{name}, no notch"] = partial(restore, notch=False)
        if engine.network.tone is not None:
            found[f"{name}, no tone"] = partial(restore, tone=False)
        found[name] = restore
    return found


def _print_rows(kind: str, rows: dict[str, Score]) -> None:
    print(f"{kind:41}{'PSNR dB':>9}{'SSIM':>8}{'found':>8}{'visible':>9}{'worst':>8}{'margin':>16}")
    for name, row in rows.items():
        line = f"  {name:39}{row['psnr']:9.2f}{row['ssim']:8.3f}{row['found']:8.0%}"
        line += f"{row['visible']:9.2f}{row['worst']:8.2f}" if "visible" in row else f"{'':17}"
        if "psnr_margin" in row:
            line += f"{row['psnr_margin']:+10.2f} {row['ssim_margin']:+.3f}"
        print(line, flush=True)


def _parallel_map(function: Callable, items: Iterable) -> list:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=Path, default=Path("dataset"), help="folder of the list")
    add("--list", default="HalftoneVOC2012.json", help="photographs, as for training (default: %(default)s)")
    add("--model", type=Path, nargs="+", help="checkpoints (default: the shipped one)")
    add_inks_flag(parser)
    add("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help="rows of the table (default: all)")
    add("--photos", type=int, default=100, help="number of validation photographs (default: 100)")
    add("--seed", type=int, default=0, help="seed of the printing parameters (default: 0)")
    add("--json", type=Path, help="write the table to this file as well")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA if available)")
    add("--tile", type=int, help="side of the tiles passed through the network, pixels")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
