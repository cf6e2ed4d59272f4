"""Measure a checkpoint over a folder of photos: tone, spectrum, restoration from file, robustness.

    python evaluate.py --model checkpoints/model_best.pth.tar --data_dir PHOTOS --save_dir OUT

Prints a table and writes OUT/metrics.json, OUT/metrics.csv, OUT/spectra_gray.png, OUT/spectra_colour.png, and the
measured halftones and restored photos. Definitions: metrics/quality.py, metrics/spectra.py, metrics/damage.py.
Bad photos are reported and left out.
Exit code: 0 all measured, 2 wrong usage, 3 some photos were skipped, 130 or 143 interrupted.
"""

import argparse
import sys
from pathlib import Path

from dataset.photo_list import write_photo_list
from metrics import tables
from reshalf import SHIPPED, evaluation
from reshalf.codec import ResHalfCodec
from utils.command import exit_code
from utils.errors import printable
from utils.files import checksum, write_json


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", type=Path, default=SHIPPED, help="checkpoint of a ResHalf (default: the shipped one)")
    add("--data_dir", type=Path, required=True, help="folder of photos, or one photo")
    add("--save_dir", type=Path, default=Path("result/evaluation"), help="output folder (default: %(default)s)")
    add("--list", type=Path, help="measure only the photos in this list, checked by SHA-256")
    add("--make_list", type=Path, metavar="FILE", help="write a list of the photos in --data_dir to FILE and stop")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA if available)")
    add("--seed", type=int, default=0, help="seed of the encoder's noise and of the flipped pixels")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--rounds", type=int, metavar="N", help="as of inference_fast.py")
    way.add_argument("--fast", action="store_true", help="as of inference_fast.py")
    way.add_argument("--best", action="store_true", help="as of inference_fast.py")
    add("--no_references", "--no-references", action="store_true", help="skip classical halftones, JPEG and WebP")
    add("--no_robustness", "--no-robustness", action="store_true", help="skip flips, crops and round trips")
    add("--no_spectra", "--no-spectra", action="store_true", help="skip constant fields and plots")
    return parser.parse_args(argv)


def evaluate(arguments: argparse.Namespace) -> int:
    """Measure, write and print; returns the exit code."""
    photos = evaluation.find_photos(arguments.data_dir, arguments.save_dir, arguments.list)
    options = {"rounds": arguments.rounds, "fast": arguments.fast, "best": arguments.best}
    codec = ResHalfCodec(arguments.model, arguments.device, precision="float32", seed=arguments.seed, **options)
    figures = evaluation.evaluate(
        codec,
        photos,
        arguments.save_dir,
        references=not arguments.no_references,
        robustness=not arguments.no_robustness,
        spectra=not arguments.no_spectra,
    )
    skipped = figures["skipped"]
    if skipped:
        total = figures["photos"] + len(skipped)
        print(printable(f"{len(skipped)} of {total} photos skipped: {', '.join(skipped)}"), file=sys.stderr)
    if not figures["photos"]:
        return 3
    content = {"model": arguments.model.name, "sha256": checksum(arguments.model), "seed": arguments.seed}
    content |= {**options, "device": str(codec.device), **figures}
    write_json(arguments.save_dir / "metrics.json", content)
    tables.write_csv(arguments.save_dir / "metrics.csv", figures["images"], figures["mean"])
    print(tables.table(figures["mean"]))
    print(f"{figures['photos']} photos; written to {arguments.save_dir}")
    return 3 if skipped else 0


def run(arguments: argparse.Namespace) -> int:
    if arguments.make_list:
        photos = evaluation.find_photos(arguments.data_dir, arguments.save_dir, arguments.list)
        write_photo_list(arguments.make_list, photos)
        return 0
    return evaluate(arguments)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return exit_code(lambda: run(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
