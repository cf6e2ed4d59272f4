"""Make the training set from a folder of photographs: python -m dataset.prepare --photos FOLDER

Writes each photograph's centre square, resized, with its error-diffused reference, as in the paper; constant colours
for the blue-noise loss; and the two JSON lists that the trainings read. dataset/README.md describes the files.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from dataset.training_pairs import Pair, make_pairs, special_colours
from halftone.threads import available_cores
from images.listing import list_images
from utils.command import exit_code
from utils.errors import UserError, printable
from utils.files import checksum_or_empty, write_json

PHOTOS, SPECIALS = "HalftoneVOC2012", "special"
SPECIAL_VALIDATION_STEP = 32  # every 32nd special colour is also in the validation list


def split_photos(options: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Photographs for training and for validation, without a photograph in both.

    Photographs of --photos that are also in --val, as the same file or as a copy, are for validation only; their number
    is printed. Raises UserError when either list is empty.
    """
    output = [os.path.realpath(options.out / folder) for folder in (PHOTOS, SPECIALS)]

    def photos_in(folder: Path) -> list[Path]:
        listed = list_images(folder, recursive=True)
        found = [Path(os.path.realpath(path.parent), path.name) for path in listed]
        return sorted({path for path in found if not any(path.is_relative_to(other) for other in output)})

    if options.val:
        photos, val = photos_in(options.photos), photos_in(options.val)
        common = copies_among(photos, val)
        train = [path for path in photos if path not in common]
        if common:
            overlap = f"--photos {options.photos} and --val {options.val} overlap"
            if not train:
                raise UserError(f"{overlap}: all photographs of --photos are also in --val, none is left to train on")
            print(printable(f"{overlap}: {len(common)} photographs in both are for validation only"), file=sys.stderr)
    else:
        photos = photos_in(options.photos)
        # Drawn by a hash of the name: photographs added later change the split of few others.
        digest = {
            path: hashlib.blake2b(f"{options.seed} {path.name}".encode(errors="replace")).digest() for path in photos
        }
        val = sorted(sorted(photos, key=digest.__getitem__)[: max(1, round(options.val_share * len(photos)))])
        train = sorted(set(photos) - set(val))
    for folder, photos in ((options.photos, train), (options.val or options.photos, val)):
        if not photos:
            raise UserError(f"{folder}: no photographs, or too few to split")
    return train, val


def copies_among(photos: list[Path], others: list[Path]) -> set[Path]:
    """The files of `photos` that have the same bytes as one of `others`; unreadable files have none."""
    sizes = {path: path.stat().st_size for path in {*photos, *others} if path.is_file()}
    shared = {sizes[path] for path in photos if path in sizes} & {sizes[path] for path in others if path in sizes}
    sums = {path: checksum_or_empty(path) for path, size in sizes.items() if size in shared}
    theirs = {sums[path] for path in others if sums.get(path)} | set(others)
    return {path for path in photos if path in theirs or sums.get(path) in theirs}


def numbered(folder: str, sources: list) -> list[Pair]:
    """Pairs named 00001.png, 00002.png, … in `folder`."""
    return [Pair(folder, f"{number:05d}.png", source) for number, source in enumerate(sources, 1)]


def columns(pairs: list[Pair]) -> dict[str, list[str]]:
    """One split of a JSON list: paths of the colour images and of their references."""
    return {"inputs": [pair.colour for pair in pairs], "labels": [pair.reference for pair in pairs]}


def prepare(options: argparse.Namespace) -> int:
    """Make the set; returns 3 when photographs were skipped, else 0. Raises UserError when a split is empty."""
    train, val = split_photos(options)
    photos = {"train": numbered(f"{PHOTOS}/train", train), "val": numbered(f"{PHOTOS}/val", val)}
    specials = numbered(SPECIALS, special_colours(options.specials, options.seed))
    pairs = [*photos["train"], *photos["val"], *specials]
    out = options.out
    (out / PHOTOS).mkdir(parents=True, exist_ok=True)
    skipped = make_pairs(pairs, out, options.size, options.workers, sources=out / PHOTOS / "sources.json")
    made = {split: [pair for pair in listed if pair.exists(out)] for split, listed in photos.items()}
    for split, listed in made.items():
        if not listed:
            raise UserError(f"none of the {len(photos[split])} photographs for {split} can be read")
    write_json(out / f"{PHOTOS}.json", {split: columns(listed) for split, listed in made.items()})
    validation = specials[::SPECIAL_VALIDATION_STEP]
    write_json(out / "special_color.json", {"train": columns(specials), "val": columns(validation)})
    print(f"{out}: {len(made['train'])} to train, {len(made['val'])} to validate, {len(specials)} special colours")
    if skipped:
        print(f"skipped {len(skipped)} of {len(train) + len(val)} photographs, listed above", file=sys.stderr)
    return 3 if skipped else 0


def at_least(smallest: int) -> Callable[[str], int]:
    """Argument type: an integer not below `smallest`."""

    def number(text: str) -> int:
        if int(text) < smallest:
            raise argparse.ArgumentTypeError(f"{text} is less than {smallest}")
        return int(text)

    return number


def share(text: str) -> float:
    """Argument type: a number between 0 and 1, both excluded."""
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


def main(argv: list[str] | None = None) -> int:
    """Returns 0; 2 after an error; 3 when photographs were skipped; 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m dataset.prepare", description="Make the training set.")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="photographs, subfolders included")
    parser.add_argument("--out", type=Path, default=Path("dataset"), metavar="FOLDER", help="default: %(default)s")
    validation = parser.add_mutually_exclusive_group()
    validation.add_argument("--val", type=Path, metavar="FOLDER", help="photographs for validation")
    validation.add_argument(
        "--val_share", type=share, default=0.02, help="share of --photos for it, default %(default)s"
    )
    parser.add_argument("--size", type=at_least(8), default=256, help="side in pixels, default %(default)s")
    parser.add_argument("--specials", type=at_least(1), default=1587, help="constant colours, default %(default)s")
    parser.add_argument("--seed", type=int, default=131, help="of the split and the colours, default %(default)s")
    parser.add_argument("--workers", type=at_least(1), default=available_cores(), help="threads, default %(default)s")

    def run() -> int:
        options = parser.parse_args(argv)
        try:
            return prepare(options)
        except KeyboardInterrupt:
            print("interrupted; the same command continues", file=sys.stderr)
            raise

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
