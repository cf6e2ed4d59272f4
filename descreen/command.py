"""Shared by the commands restore and rescreen: flags, choice of the method, the run over the folder."""

import argparse
from functools import partial
from pathlib import Path

from descreen.baselines import BASELINES, MASKS
from descreen.engine import DescreenEngine, baseline_restorer
from descreen.inks import BELIEFS
from descreen.regions import find_regions
from descreen.scan_job import SCREENED, Rescreen, ScanJob
from descreen.system import Descreener
from images.transparency import BACKGROUND_HELP, WHITE
from jobs.flags import add_job_flags
from jobs.manifest import Manifest
from jobs.run import run_folder
from jobs.shards import SHARD_HELP, parse_shard
from jobs.tasks import RESTORED, plan_tasks
from model.load import load_network
from utils.colour import parse_colour
from utils.errors import UserError
from utils.files import checksum_or_empty

SHIPPED = Path(__file__).parents[1] / "checkpoints/descreen_scans.pth.tar"
"""For scans of prints, and screens with ideal inks."""
IDEAL_INKS = SHIPPED.with_name("descreen_best.pth.tar")
"""For screens with ideal inks alone, as programs draw them (descreen/printing.py)."""
DETECTED = "auto"


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the flags of both commands."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, help="folder of scans, or one scan")
    add("--save_dir", type=Path, default=Path("result"), help="output folder (default: %(default)s)")
    add("--method", choices=["network", *BASELINES], default="network", help="the network (default) or a baseline")
    add("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped one)")
    add_inks_flag(parser)
    add("--strength", type=float, default=1.0, help="strength of the baseline (default: %(default)s)")
    add("--mask", choices=MASKS, default="gaussian", help="notch shape of fft_notch (default: %(default)s)")
    add("--keep_tones", action="store_true", help="network: do not correct the tones and colours of whole pictures")
    add("--background", type=parse_colour, metavar="COLOUR", help=BACKGROUND_HELP)
    add_job_flags(parser)
    add("--tile", type=int, help="side in pixels of the tiles the network processes (default: by the free memory)")
    add("--shard", metavar="I/N", help=SHARD_HELP)
    return parser


def run(args: argparse.Namespace, rescreen: Rescreen | None = None, settings: dict | None = None) -> int:
    """Restore the scans of a folder and, with `rescreen`, rescreen them; returns the exit code.

    settings  the parameters of the new screen, for the manifest
    Raises UserError for wrong usage, a bad checkpoint, and a folder without images.
    """
    folders = {RESTORED: ".png"} | ({SCREENED: ".png"} if rescreen else {})
    plan = plan_tasks(args.data_dir, args.save_dir, args.recursive, folders)
    shard = parse_shard(args.shard)
    made_by = {"method": args.method, "rescreen": settings}
    if args.method == "network":
        engine = load_trained(args.model, args.device or shard.device(), args.tile)
        restore = partial(engine.restore, tone=not args.keep_tones)
        find = partial(engine.find, inks=kind_of_inks(args.inks, engine, args.model))
        made_by |= {"checkpoint": checksum_or_empty(args.model), "keep_tones": args.keep_tones, "inks": args.inks}
    else:
        if not 0 < args.strength <= 100:
            raise UserError(f"--strength {args.strength}: allowed: above 0, up to 100")
        restore, find = baseline_restorer(args.method, args.strength, args.mask), find_regions
        made_by |= {"strength": args.strength, "mask": args.mask}
    if args.background:
        made_by["background"] = list(args.background)
    job = ScanJob(
        manifest=Manifest(args.save_dir, made_by),
        folders=folders,
        title="rescreening" if rescreen else "restoring",
        max_pixels=args.max_pixels,
        skip_existing=args.skip_existing,
        background=args.background or WHITE,
        find=find,
        restore=restore,
        rescreen=rescreen,
    )
    return run_folder(plan, job, shard)


def add_inks_flag(parser: argparse.ArgumentParser) -> None:
    """Add --inks, of which `kind_of_inks` says the meaning."""
    text = "network: process inks of a press, ideal ones as programs draw, or auto, detected in each region (default)"
    parser.add_argument("--inks", choices=[DETECTED, *BELIEFS], default=DETECTED, help=text)


def kind_of_inks(option: str, engine: DescreenEngine, path: Path) -> str | None:
    """What --inks means to `engine.restore`. Raises UserError for a kind that the network of `path` does not know."""
    if option == DETECTED:
        return None
    if engine.network.inks is None:
        raise UserError(f"--inks {option}: {path} was trained without kinds of inks, allowed: {DETECTED}")
    return option


def check_output_file(path: Path) -> None:
    """Raise UserError, before hours of work, for a file that cannot be written: a folder, or one in no folder."""
    if not path.parent.is_dir():
        raise UserError(f"{path}: its folder does not exist")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a file to write")


def load_trained(path: Path, device: str | None = None, tile: int | None = None) -> DescreenEngine:
    """An engine with the network of a checkpoint. Raises UserError for a bad checkpoint, tile or device."""
    if path == SHIPPED and not SHIPPED.exists():
        raise UserError(
            f"{SHIPPED}: no such checkpoint file; train one with python -m descreen.train, name another with "
            f"--model, or use a classical method: --method {'|'.join(BASELINES)}"
        )
    network = load_network(path)
    if not isinstance(network, Descreener):
        raise UserError(f"{path}: not a descreening checkpoint: contains {type(network).__name__}")
    return DescreenEngine(network, device, tile)
