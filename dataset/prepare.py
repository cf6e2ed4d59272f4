"""Make the training set out of any folder of photographs: python -m dataset.prepare --photos FOLDER

Each photograph's centre square, resized, and its error-diffused reference, as the paper prepares them; constant colours
for the blue-noise loss; and the two lists that the trainings read. See dataset/README.md for the files.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from dataset.pictures import Item, make_all, special_colours, write_json
from images.files import list_images
from utils.command import exit_code
from utils.errors import UserError

PHOTOS, SPECIALS = "HalftoneVOC2012", "special"
SPECIAL_VALIDATION_STEP = 32  # every so many special colours also validate


def split_photos(options: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    """Photographs to train on and to validate with. Raises UserError when there are none of either."""
    ours = [os.path.realpath(options.out / folder) for folder in (PHOTOS, SPECIALS)]

    def photos_in(folder: Path, without: list[str]) -> list[Path]:
        listed = list_images(folder, recursive=True)
        found = [Path(os.path.realpath(path.parent), path.name) for path in listed]
        return sorted({path for path in found if not any(path.is_relative_to(other) for other in without)})

    if options.val:
        train = photos_in(options.photos, [*ours, os.path.realpath(options.val)])
        val = photos_in(options.val, ours)
    else:
        photos = photos_in(options.photos, ours)
        # Drawn by name, so that photographs added later move few of the others.
        digest = {
            path: hashlib.blake2b(f"{options.seed} {path.name}".encode(errors="replace")).digest() for path in photos
        }
        val = sorted(sorted(photos, key=digest.__getitem__)[: max(1, round(options.val_share * len(photos)))])
        train = sorted(set(photos) - set(val))
    for folder, photos in ((options.photos, train), (options.val or options.photos, val)):
        if not photos:
            raise UserError(f"{folder}: no photographs, or too few to split")
    return train, val


def numbered(folder: str, sources: list) -> list[Item]:
    return [Item(folder, f"{number:05d}.png", source) for number, source in enumerate(sources, 1)]


def columns(items: list[Item]) -> dict[str, list[str]]:
    return {"inputs": [item.colour for item in items], "labels": [item.reference for item in items]}


def prepare(options: argparse.Namespace) -> int:
    train, val = split_photos(options)
    photos = {"train": numbered(f"{PHOTOS}/train", train), "val": numbered(f"{PHOTOS}/val", val)}
    specials = numbered(SPECIALS, special_colours(options.specials, options.seed))
    items = [*photos["train"], *photos["val"], *specials]
    out = options.out
    (out / PHOTOS).mkdir(parents=True, exist_ok=True)
    skipped = make_all(items, out, options.size, options.workers, sources=out / PHOTOS / "sources.json")
    made = {split: [item for item in pictures if item.is_made(out)] for split, pictures in photos.items()}
    for split, pictures in made.items():
        if not pictures:
            raise UserError(f"none of the {len(photos[split])} photographs for {split} can be read")
    write_json(out / f"{PHOTOS}.json", {split: columns(pictures) for split, pictures in made.items()})
    validation = specials[::SPECIAL_VALIDATION_STEP]
    write_json(out / "special_color.json", {"train": columns(specials), "val": columns(validation)})
    print(f"{out}: {len(made['train'])} to train, {len(made['val'])} to validate, {len(specials)} special colours")
    if skipped:
        print(f"skipped {len(skipped)} of {len(train) + len(val)} photographs, named above", file=sys.stderr)
    return 3 if skipped else 0


def at_least(smallest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < smallest:
            raise argparse.ArgumentTypeError(f"{text} is less than {smallest}")
        return int(text)

    return number


def share(text: str) -> float:
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return float(text)


def run(options: argparse.Namespace) -> int:
    try:
        return prepare(options)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        raise


def main(argv: list[str] | None = None) -> int:
    """Return 0, 2 after wrong use, 3 when files were skipped, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m dataset.prepare", description="Make the training set.")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="photographs, subfolders included")
    parser.add_argument("--out", type=Path, default=Path("dataset"), metavar="FOLDER", help="default: %(default)s")
    validation = parser.add_mutually_exclusive_group()
    validation.add_argument("--val", type=Path, metavar="FOLDER", help="photographs to validate with")
    validation.add_argument(
        "--val_share", type=share, default=0.02, help="else this share of them, default %(default)s"
    )
    parser.add_argument("--size", type=at_least(8), default=256, help="side in pixels, default %(default)s")
    parser.add_argument("--specials", type=at_least(1), default=1587, help="constant colours, default %(default)s")
    parser.add_argument("--seed", type=int, default=131, help="of the split and the colours, default %(default)s")
    parser.add_argument("--workers", type=at_least(1), default=os.cpu_count(), help="threads, default %(default)s")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
