"""Dither a folder of photographs and restore them from the halftones, or restore a folder of halftones.

    python inference_fast.py [--model CKPT] [--data_dir DIR] [--save_dir OUT] [--decoding]

writes OUT/halftone/NAME.png (one bit per pixel), OUT/restored/NAME.png, OUT/manifest.jsonl and OUT/overview.png, and
prints a table. Several processes share a folder with --shard I/N each, or under torchrun.
Exit code: 0 all done, 2 wrong usage, 3 something was skipped, 130 or 143 interrupted.
"""

import argparse
import sys
from pathlib import Path

from images.files import MAX_PIXELS
from jobs.manifest import Manifest, digest
from jobs.run import run_folder
from jobs.shards import parse_shard
from jobs.tasks import Task, plan
from reshalf import SHIPPED, ResHalfCodec
from reshalf.folder_job import HALFTONES, RESTORED, Done, FolderJob
from utils.command import exit_code
from utils.errors import UserError, printable

HERE = Path(__file__).parent


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped)")
    add("--data_dir", type=Path, help="photographs, or halftones with --decoding (default: test_imgs)")
    add("--save_dir", type=Path, default=Path("result"), help="where halftone/ and restored/ go")
    add("--decoding", action="store_true", help="restore the halftones in DIR")
    add("--force", action="store_true", help="with --decoding: also restore images that are no halftones")
    add("--recursive", action="store_true", help="also the photographs in subfolders; the structure is kept")
    add("--skip-existing", action="store_true", help="leave out what OUT/manifest.jsonl says is done")
    quality = parser.add_mutually_exclusive_group()
    quality.add_argument("--fast", action="store_true", help="error diffusion instead of the halftone search")
    quality.add_argument("--best", action="store_true", help="ask the decoder itself, in 12 rounds: slow")
    quality.add_argument("--rounds", type=int, metavar="N", help="of the search that asks what a decoder would miss")
    add("--seed", type=int, default=0, help="of the encoder's noise, where it has any")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA where there is one)")
    add("--tile", type=int, help="pixels a side that pass through the network at once (default: by the free memory)")
    add("--shard", metavar="I/N", help="do the I-th of N shares only; torchrun shares the work by itself")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="larger images are skipped")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    if args.decoding and not args.data_dir:
        raise UserError("--decoding needs --data_dir, the folder of the halftones")
    if args.decoding and (args.fast or args.best or args.rounds is not None):
        raise UserError("--fast, --best and --rounds are about halftoning: not with --decoding")
    if args.force and not args.decoding:
        raise UserError("--force is for --decoding")
    kinds = (RESTORED,) if args.decoding else (HALFTONES, RESTORED)
    tasks = plan(args.data_dir or HERE / "test_imgs", args.save_dir, args.recursive, kinds)
    shard = parse_shard(args.shard)
    choices = {"seed": args.seed, "fast": args.fast, "rounds": args.rounds, "best": args.best}
    codec = ResHalfCodec(args.model, args.device or shard.device(), tile=args.tile, **choices)
    made_by = {"checkpoint": digest(args.model), "decoding": args.decoding} | ({} if args.decoding else choices)
    manifest = Manifest(args.save_dir, made_by)
    job = FolderJob(codec, args.save_dir, manifest, args.decoding, args.force, args.max_pixels, args.skip_existing)
    doing = "restoring" if args.decoding else "dithering"
    return run_folder(tasks, job, doing, lambda done: print_table(done, args.decoding), shard)


def print_table(done: list[tuple[Task, Done]], decoding: bool) -> None:
    heads = f"{'name':32}{'size':^16}{'seconds':>9}"
    print(heads if decoding else f"{heads}{'PSNR dB':>10}{'SSIM':>8}{'tone dB':>10}")
    for task, outcome in done:
        height, width = outcome.size
        line = f"{printable(task.name):32}{width:>7} × {height:<6}{outcome.seconds:9.2f}"
        print(line if decoding else line + "{:10.2f}{:8.3f}{:10.2f}".format(*outcome.scores))


def main(argv: list[str] | None = None) -> int:
    return exit_code(lambda: run(parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
