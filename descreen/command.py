"""Shared by the commands restore and rescreen: flags, choice of the method, the run over the folder."""

import argparse
from pathlib import Path

from descreen.baselines import BASELINES, MASKS
from descreen.engine import DescreenEngine, baseline_restorer
from descreen.scan_job import SCREENED, Rescreen, ScanJob
from descreen.system import Descreener
from images.files import MAX_PIXELS
from jobs.manifest import Manifest, digest
from jobs.run import run_folder
from jobs.tasks import RESTORED, plan
from model.load import load_network
from utils.errors import UserError

CHECKPOINT = Path(__file__).parents[1] / "checkpoints/descreen_best.pth.tar"


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the flags of both commands."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, help="scans")
    add("--save_dir", type=Path, default=Path("result"), help=f"where {RESTORED}/ goes")
    add("--method", choices=["network", *BASELINES], default="network", help="the network, or a classical method")
    add("--model", type=Path, default=CHECKPOINT, help="checkpoint (default: the shipped)")
    add("--strength", type=float, default=1.0, help="of a classical method")
    add("--mask", choices=MASKS, default="gaussian", help="shape of the notches of fft_notch")
    add("--recursive", action="store_true", help="also the scans in subfolders; the structure is kept")
    add("--skip_existing", "--skip-existing", action="store_true", help="continue: leave out what was done before")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA if available)")
    add("--tile", type=int, help="side in pixels of the tiles the network processes (default: by the free memory)")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="larger images are skipped")
    return parser


def run(args: argparse.Namespace, rescreen: Rescreen | None = None, settings: dict | None = None) -> int:
    """Restore the scans of a folder and, with `rescreen`, screen them again; returns the exit code.

    settings  the parameters of the new screen, for the manifest
    Raises UserError for wrong usage, a bad checkpoint, and a folder without images.
    """
    folders = (RESTORED, SCREENED) if rescreen else (RESTORED,)
    tasks = plan(args.data_dir, args.save_dir, args.recursive, folders)
    made_by = {"method": args.method, "rescreen": settings}
    if args.method == "network":
        restore = load_trained(args.model, args.device, args.tile).restore
        made_by["checkpoint"] = digest(args.model)
    else:
        if not 0 < args.strength <= 100:
            raise UserError(f"--strength {args.strength}: allowed: above 0, up to 100")
        restore = baseline_restorer(args.method, args.strength, args.mask)
        made_by |= {"strength": args.strength, "mask": args.mask}
    job = ScanJob(
        manifest=Manifest(args.save_dir, made_by),
        folders=folders,
        title="rescreening" if rescreen else "restoring",
        max_pixels=args.max_pixels,
        skip_existing=args.skip_existing,
        restore=restore,
        rescreen=rescreen,
    )
    return run_folder(tasks, job)


def load_trained(path: Path, device: str | None = None, tile: int | None = None) -> DescreenEngine:
    """An engine with the network of a checkpoint. Raises UserError for a bad checkpoint, tile or device."""
    if path == CHECKPOINT and not CHECKPOINT.exists():
        raise UserError(
            f"{CHECKPOINT}: no such checkpoint file; train one with python -m descreen.train, name another with "
            f"--model, or use a classical method: --method {'|'.join(BASELINES)}"
        )
    network = load_network(path)
    if not isinstance(network, Descreener):
        raise UserError(f"{path}: not a descreening checkpoint: holds {type(network).__name__}")
    return DescreenEngine(network, device, tile)
