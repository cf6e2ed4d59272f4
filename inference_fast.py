"""Dither a folder of photographs and restore them from the halftones, or restore a folder of halftones.

    python inference_fast.py [--model CKPT] [--data_dir DIR] [--save_dir OUT] [--decoding]

writes OUT/halftone/NAME.png (one bit per pixel), OUT/restored/NAME.png, OUT/manifest.jsonl and OUT/overview.png, and
prints a table.
Exit code: 0 all done, 2 wrong usage, 3 something was skipped, 130 or 143 interrupted.
"""

import argparse
import errno
import signal
import sys
import time
from pathlib import Path

from tqdm import tqdm

from model.build import build_network
from utils.checkpoint import load_network
from utils.engine import Engine
from utils.errors import UserError
from utils.folder_job import OVERVIEW, Done, FolderJob, Task, is_large, plan
from utils.image_io import MAX_PIXELS
from utils.manifest import Manifest, digest
from utils.overlap import overlapped
from utils.overview import write_overview

HERE = Path(__file__).parent
GO_ON = "the same command with --skip-existing goes on"


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, default=HERE / "checkpoints/model_best.pth.tar", help="checkpoint (default: the shipped)")
    add("--data_dir", type=Path, default=HERE / "test_imgs", help="photographs, or halftones with --decoding")
    add("--save_dir", type=Path, default=Path("result"), help="where halftone/ and restored/ go")
    add("--decoding", action="store_true", help="restore the halftones in DIR")
    add("--force", action="store_true", help="with --decoding: also restore images that are no halftones")
    add("--recursive", action="store_true", help="also the photographs in subfolders; the structure is kept")
    add("--skip-existing", action="store_true", help="leave out what OUT/manifest.jsonl says is done")
    add("--fast", action="store_true", help="error diffusion instead of the halftone search: quicker, less colour")
    add("--seed", type=int, default=0, help="of the encoder's noise, where it has any")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA where there is one)")
    add("--tile", type=int, help="pixels a side that pass through the network at once (default: by the free memory)")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="larger images are skipped")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    tasks = plan(args.data_dir, args.save_dir, args.recursive, args.decoding)
    network = load_network(args.model, build_network)
    if not hasattr(network, "decode"):
        raise UserError(f"{args.model}: holds {type(network).__name__}, which makes no halftones; ResHalf is needed")
    try:
        engine = Engine(network, args.device, args.tile, seed=args.seed, fast=args.fast)
    except (ValueError, RuntimeError) as error:  # a tile, or a device that is not here
        raise UserError(str(error).splitlines()[0]) from error
    made_by = {"checkpoint": digest(args.model), "decoding": args.decoding, "seed": args.seed, "fast": args.fast}
    manifest = Manifest(args.save_dir, made_by)
    job = FolderJob(engine, args.save_dir, manifest, args.decoding, args.force, args.max_pixels, args.skip_existing)
    done: list[tuple[Task, Done]] = []
    skipped, kept, full, start = [], 0, None, time.perf_counter()
    outcomes = overlapped(tasks, job.read, job.compute, job.write, is_large)
    try:
        for task, outcome in tqdm(outcomes, "restoring" if args.decoding else "dithering", len(tasks), unit="image"):
            if outcome is None:
                kept += 1
            elif isinstance(outcome, Done):
                done.append((task, outcome if len(done) < 8 else outcome._replace(pictures=[])))
            else:
                tqdm.write(f"skipped: {outcome}", file=sys.stderr)
                skipped.append(task.path)
                if full := getattr(outcome.__cause__, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    break  # every further write would fail as well
    except KeyboardInterrupt:
        print(f"interrupted: {len(done) + kept} of {len(tasks)} done; {GO_ON}", file=sys.stderr)
        raise
    finally:
        outcomes.close()
    if done:
        print_table(done, args.decoding)
        print(f"{len(done)} done in {time.perf_counter() - start:.1f} s")
        try:
            write_overview(args.save_dir / OVERVIEW, [outcome.pictures for _, outcome in done[:8]])
            print(f"see {args.save_dir / OVERVIEW}")
        except UserError as error:
            print(f"no overview: {error}", file=sys.stderr)
    if kept:
        print(f"{kept} were done already")
    if full:
        print(f"stopped: {len(done) + kept} of {len(tasks)} done; make room, then {GO_ON}", file=sys.stderr)
    elif skipped:
        print(f"{len(skipped)} of {len(tasks)} skipped: {', '.join(path.name for path in skipped)}", file=sys.stderr)
    return 3 if skipped else 0


def print_table(done: list[tuple[Task, Done]], decoding: bool) -> None:
    heads = f"{'name':32}{'size':^16}{'seconds':>9}"
    print(heads if decoding else f"{heads}{'PSNR dB':>10}{'SSIM':>8}{'tone dB':>10}")
    for task, outcome in done:
        height, width = outcome.size
        line = f"{str(task.name):32}{width:>7} × {height:<6}{outcome.seconds:9.2f}"
        print(line if decoding else line + "{:10.2f}{:8.3f}{:10.2f}".format(*outcome.scores))


def main(argv: list[str] | None = None) -> int:
    received = signal.SIGINT

    def stop(number, _frame):
        nonlocal received
        received = number
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return run(parse(argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 128 + received
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
