"""Measure a checkpoint over a folder of photos: tone, spectrum, restoration from file, robustness.

    python evaluate.py --model checkpoints/model_best.pth.tar --data_dir PHOTOS --save_dir OUT

Prints a table and writes OUT/metrics.json, OUT/metrics.csv, OUT/spectra_gray.png, OUT/spectra_colour.png, and the
halftones and restored photos that were measured. Definitions: utils/metrics.py, utils/spectra.py, utils/damage.py.
"""

import argparse
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from dataset.photo_list import read_photo_list, write_photo_list
from images.files import list_images, read_image
from jobs.tasks import HALFTONES, RESTORED, check_folder, check_overwriting
from metrics import spectra
from metrics import tables as report
from reshalf import SHIPPED, evaluation
from reshalf.codec import ResHalfCodec
from utils.command import exit_code
from utils.errors import UserError
from utils.files import checksum


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint of a ResHalf (default: the shipped)")
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of photos")
    parser.add_argument("--save_dir", type=Path, default=Path("result/evaluation"), help="default: %(default)s")
    parser.add_argument("--list", type=Path, help="measure exactly these photos, checked by SHA-256")
    parser.add_argument("--make_list", type=Path, metavar="FILE", help="only write such a list of --data_dir")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the encoder's noise and of the flipped pixels")
    add = parser.add_argument
    add("--no_references", "--no-references", action="store_true", help="without classical halftones, JPEG and WebP")
    add("--no_robustness", "--no-robustness", action="store_true", help="without flips, crops and round trips")
    add("--no_spectra", "--no-spectra", action="store_true", help="without constant fields and plots")
    return parser.parse_args(argv)


def load_codec(arguments: argparse.Namespace) -> evaluation.FileCodec:
    codec = ResHalfCodec(arguments.model, arguments.device, precision="float32", seed=arguments.seed)
    return evaluation.FileCodec(codec, arguments.save_dir)


def find_photos(arguments: argparse.Namespace) -> list[Path]:
    photos = read_photo_list(arguments.list, arguments.data_dir) if arguments.list else list_images(arguments.data_dir)
    if not photos:
        raise UserError(f"{arguments.data_dir}: no images")
    folders = [arguments.save_dir / kind for kind in (HALFTONES, RESTORED)]
    for folder in folders:
        check_folder(folder)
    check_overwriting(photos, (folder / f"{photo.stem}.png" for folder in folders for photo in photos))
    stems: dict[str, Path] = {}
    for photo in photos:
        if stems.setdefault(photo.stem, photo) != photo:
            raise UserError(f"{photo}: its halftone would overwrite that of {stems[photo.stem].name}")
    return photos


def evaluate(arguments: argparse.Namespace) -> None:
    photos = find_photos(arguments)
    codec = load_codec(arguments)
    for photo in tqdm(photos, desc="reading", unit="photo"):  # what cannot be measured is better known at once
        evaluation.check_size(read_image(photo).bgr, str(photo))
    wanted = {"references": not arguments.no_references, "robustness": not arguments.no_robustness}
    images = {}
    for photo in tqdm(photos, desc="photos", unit="photo"):
        images[photo.name] = evaluation.measure_photo(codec, read_image(photo).bgr, photo.stem, **wanted)
    mean = report.mean_of(list(images.values()))
    levels = {}
    if not arguments.no_spectra:
        fields = evaluation.GRAYS | evaluation.COLOURS
        flat = dict(tqdm(evaluation.measure_flat(codec), desc="constant fields", total=len(fields)))
        mean["spectrum"] = evaluation.spectrum_rows(flat)
        levels = {
            name: {method: spectrum.summary() for method, spectrum in found.items()} for name, found in flat.items()
        }
        for kind, names in (("gray", evaluation.GRAYS), ("colour", evaluation.COLOURS)):
            spectra.plot(arguments.save_dir / f"spectra_{kind}.png", {name: flat[name] for name in names})
    mean["gray ramp"] = {evaluation.OURS: {"mean chroma": evaluation.gray_ramp_chroma(codec)}}

    content = {"model": arguments.model.name, "sha256": checksum(arguments.model), "seed": arguments.seed}
    content |= {"device": str(arguments.device), "photos": len(images)}
    content |= {"mean": mean, "constant_fields": levels, "images": images}
    report.write_json(arguments.save_dir / "metrics.json", content)
    report.write_csv(arguments.save_dir / "metrics.csv", images, mean)
    print(report.table(mean))
    print(f"{len(images)} photos; written to {arguments.save_dir}")


def run(arguments: argparse.Namespace) -> int:
    if arguments.make_list:
        write_photo_list(arguments.make_list, find_photos(arguments))
    else:
        evaluate(arguments)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0, or 2 after printing one line about what the user can mend."""
    return exit_code(lambda: run(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
