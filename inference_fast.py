"""Dither a folder of photographs and restore them from the files written, or restore a folder of halftones.

    python inference_fast.py [--model CKPT] [--data_dir DIR] [--save_dir OUT] [--decoding]

writes OUT/halftone/NAME.png (one bit per pixel) and OUT/restored/NAME.png, a table, and OUT/overview.png.
Exit code: 0 all done, 2 wrong usage, 3 something was skipped.
"""

import argparse
import sys
import time
from pathlib import Path

from tqdm import tqdm

from model.build import build_network
from utils.checkpoint import load_network
from utils.engine import Engine
from utils.errors import UserError
from utils.image_io import MAX_PIXELS, list_images, read_halftone, read_image, write_halftone, write_image
from utils.metrics import gray_of, psnr, ssim, tone_psnr
from utils.overview import write_overview

HERE = Path(__file__).parent
MEASURABLE = 11  # pixels a side that the windows of SSIM and tone need


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, default=HERE / "checkpoints/model_best.pth.tar", help="checkpoint (default: the shipped)")
    add("--data_dir", type=Path, default=HERE / "test_imgs", help="photographs, or halftones with --decoding")
    add("--save_dir", type=Path, default=Path("result"), help="where halftone/ and restored/ go")
    add("--decoding", action="store_true", help="restore the halftones in DIR")
    add("--force", action="store_true", help="with --decoding: also restore images that are no halftones")
    add("--recursive", action="store_true", help="also the photographs in subfolders; the structure is kept")
    add("--seed", type=int, default=0, help="of the encoder's noise, where it has any")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA where there is one)")
    add("--tile", type=int, default=1024, help="pixels a side that pass through the network at once, a multiple of 8")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="larger images are skipped")
    return parser.parse_args(argv)


def plan(args: argparse.Namespace) -> dict[Path, Path]:
    """Input file → output name relative to halftone/ and restored/, checked before any work is done."""
    outputs: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    own = args.save_dir.resolve()
    for path in list_images(args.data_dir, args.recursive):
        if own in path.resolve().parents:  # an OUT inside DIR is not an input
            continue
        relative = path.relative_to(args.data_dir)
        name = relative.with_name(relative.stem + ".png")
        if name in taken:
            raise UserError(f"{path} and {taken[name]} would both be written as {name}: rename one of them")
        outputs[path], taken[name] = name, path
    for path, name in outputs.items():
        if clash := next((taken[parent] for parent in name.parents if parent in taken), None):
            raise UserError(f"{path} needs a folder where {clash} would be written: rename one of them")
    if not outputs:
        raise UserError(f"{args.data_dir}: no images in it")
    return outputs


def dither(engine: Engine, path: Path, name: Path, args: argparse.Namespace) -> tuple[list, str]:
    """Photograph → both files; returns the pictures for the overview and the line of the table."""
    photo = read_image(path, max_pixels=args.max_pixels)
    start = time.perf_counter()
    halftone_path = folder(args.save_dir / "halftone" / name)
    write_halftone(halftone_path, engine.halftone(photo.bgr))
    halftone = read_halftone(halftone_path, force=True, max_pixels=args.max_pixels)
    restored = engine.restore(halftone)
    write_image(folder(args.save_dir / "restored" / name), restored, photo.alpha)
    seconds = time.perf_counter() - start
    scores = f"{psnr(photo.bgr, restored):10.2f}"
    if min(halftone.shape) >= MEASURABLE:
        scores += f"{ssim(photo.bgr, restored):8.3f}{tone_psnr(halftone, gray_of(photo.bgr)):10.2f}"
    return [photo.bgr, halftone, restored], row(name, halftone.shape, seconds) + scores


def restore(engine: Engine, path: Path, name: Path, args: argparse.Namespace) -> tuple[list, str]:
    """Halftone → restored file."""
    halftone = read_halftone(path, force=args.force, max_pixels=args.max_pixels)
    start = time.perf_counter()
    restored = engine.restore(halftone)
    write_image(folder(args.save_dir / "restored" / name), restored)
    return [halftone, restored], row(name, halftone.shape, time.perf_counter() - start)


def folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def row(name: Path, size: tuple[int, int], seconds: float) -> str:
    return f"{str(name):32}{size[1]:>7} × {size[0]:<6}{seconds:9.2f}"


def run(args: argparse.Namespace) -> int:
    outputs = plan(args)
    network = load_network(args.model, build_network)
    if not hasattr(network, "decode"):
        raise UserError(f"{args.model}: holds {type(network).__name__}, which makes no halftones; ResHalf is needed")
    engine = Engine(network, args.device, args.tile, seed=args.seed)
    work = restore if args.decoding else dither
    pictures, lines, skipped = [], [], []
    for path, name in tqdm(outputs.items(), desc="restoring" if args.decoding else "dithering", unit="image"):
        try:
            shown, line = work(engine, path, name, args)
        except UserError as error:
            tqdm.write(f"skipped: {error}", file=sys.stderr)
            skipped.append(path)
            continue
        lines.append(line)
        if len(pictures) < 8:
            pictures.append(shown)
    if lines:
        heads = f"{'name':32}{'size':^16}{'seconds':>9}"
        print(heads if args.decoding else f"{heads}{'PSNR dB':>10}{'SSIM':>8}{'tone dB':>10}")
        print("\n".join(lines))
        write_overview(args.save_dir / "overview.png", pictures)
        print(f"{len(lines)} done, see {args.save_dir / 'overview.png'}")
    if skipped:
        print(f"{len(skipped)} of {len(outputs)} skipped: {', '.join(path.name for path in skipped)}", file=sys.stderr)
    return 3 if skipped else 0


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    try:
        return run(args)
    except (UserError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
