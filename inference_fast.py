"""Dither a folder of photographs and restore them from the halftones, or restore a folder of halftones.

    python inference_fast.py [--model CKPT] [--data_dir DIR|FILE] [--save_dir OUT] [--decoding]

writes OUT/halftone/NAME.png (one bit per pixel; or .bmp, .pbm, .tif), OUT/restored/NAME.png, OUT/manifest.jsonl and
OUT/overview.png, and prints a table. Several processes divide the inputs with --shard I/N each, or under torchrun.
Exit code: 0 all done, 2 wrong usage, 3 something was skipped, 130 or 143 interrupted.
"""

import argparse
import sys
from pathlib import Path

from images.encode import HALFTONE_SUFFIXES
from images.transparency import BACKGROUND_HELP, WHITE
from jobs.flags import add_job_flags
from jobs.manifest import Manifest
from jobs.run import run_folder
from jobs.shards import SHARD_HELP, parse_shard
from jobs.tasks import HALFTONES, RESTORED, plan_tasks
from reshalf import SHIPPED, ResHalfCodec
from reshalf.folder_job import FolderJob
from utils.colour import parse_colour
from utils.command import exit_code
from utils.errors import UserError
from utils.files import checksum_or_empty

HERE = Path(__file__).parent
FORMATS = [suffix[1:] for suffix in HALFTONE_SUFFIXES]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped one)")
    add(
        "--data_dir",
        type=Path,
        help="photographs, or halftones with --decoding; a folder or a file (default: test_imgs)",
    )
    add("--save_dir", type=Path, default=Path("result"), help="output folder (default: %(default)s)")
    add("--decoding", action="store_true", help="the inputs are halftones: restore them")
    add("--force", action="store_true", help="with --decoding: also restore images that are not halftones")
    add("--invert", action="store_true", help="with --decoding: swap black and white (done by itself where certain)")
    add("--halftone_format", choices=FORMATS, help="file format of the halftones (default: png)")
    add("--background", type=parse_colour, metavar="COLOUR", help=BACKGROUND_HELP)
    add_job_flags(parser)
    quality = parser.add_mutually_exclusive_group()
    quality.add_argument("--fast", action="store_true", help="error diffusion instead of the halftone search")
    quality.add_argument("--best", action="store_true", help="query the decoder itself and restore mirrored too: slow")
    rounds = "number of search rounds that query the proxy (default: as trained, 6)"
    quality.add_argument("--rounds", type=int, metavar="N", help=rounds)
    add("--seed", type=int, default=0, help="seed of the encoder's noise")
    add("--tile", type=int, help="side in pixels of the tiles the network processes (default: by the free memory)")
    add("--shard", metavar="I/N", help=SHARD_HELP)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Process the folder; returns the exit code. Raises UserError for wrong usage."""
    if args.decoding and not args.data_dir:
        raise UserError("--decoding needs --data_dir, the folder of the halftones")
    if args.decoding and (args.fast or args.rounds is not None):
        raise UserError("--fast and --rounds concern halftoning: not with --decoding")
    for flag in ("force", "invert"):
        if getattr(args, flag) and not args.decoding:
            raise UserError(f"--{flag} is for --decoding")
    if args.decoding and (args.halftone_format or args.background):
        raise UserError("--halftone_format and --background concern halftoning: not with --decoding")
    folders = {} if args.decoding else {HALFTONES: f".{args.halftone_format or 'png'}"}
    folders |= {RESTORED: ".png"}
    plan = plan_tasks(args.data_dir or HERE / "test_imgs", args.save_dir, args.recursive, folders)
    shard = parse_shard(args.shard)
    choices = {"seed": args.seed, "fast": args.fast, "rounds": args.rounds, "best": args.best}
    codec = ResHalfCodec(args.model, args.device or shard.device(), tile=args.tile, **choices)
    made_by = {"checkpoint": checksum_or_empty(args.model), "decoding": args.decoding}
    made_by |= {name: True for name in ("invert", "best") if getattr(args, name)} if args.decoding else choices
    if args.background:  # these two are absent by default, as in the manifests of earlier releases
        made_by["background"] = list(args.background)
    if args.halftone_format:
        made_by["halftone_format"] = args.halftone_format
    job = FolderJob(
        manifest=Manifest(args.save_dir, made_by),
        folders=folders,
        title="restoring" if args.decoding else "dithering",
        max_pixels=args.max_pixels,
        skip_existing=args.skip_existing,
        background=args.background or WHITE,
        codec=codec,
        decoding=args.decoding,
        force=args.force,
        invert=args.invert,
    )
    return run_folder(plan, job, shard)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return exit_code(lambda: run(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
