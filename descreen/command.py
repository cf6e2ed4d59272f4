"""What the commands restore and rescreen share: flags, the way to restore, the run over the folder."""

import argparse
from pathlib import Path

from descreen.baselines import BASELINES, MASKS
from descreen.engine import DescreenEngine, Restorer, baseline_restorer
from descreen.scan_job import SCREENED, Rescreen, ScanJob
from descreen.system import Descreener
from images.files import MAX_PIXELS
from jobs.manifest import Manifest, digest
from jobs.run import Finished, run_folder
from jobs.tasks import plan
from model.load import load_network
from reshalf.folder_job import RESTORED
from utils.errors import UserError, printable

CHECKPOINT = Path(__file__).parents[1] / "checkpoints/descreen_best.pth.tar"


def make_parser(description: str) -> argparse.ArgumentParser:
    """The flags both commands have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data_dir", type=Path, required=True, help="scans")
    add("--save_dir", type=Path, default=Path("result"), help=f"where {RESTORED}/ goes")
    add("--method", choices=["network", *BASELINES], default="network", help="the trained system, or without learning")
    add("--model", type=Path, default=CHECKPOINT, help="checkpoint of the trained system (default: the shipped)")
    add("--strength", type=float, default=1.0, help="of a method without learning")
    add("--mask", choices=MASKS, default="gaussian", help="shape of the notches of fft_notch")
    add("--recursive", action="store_true", help="also the scans in subfolders; the structure is kept")
    add("--skip-existing", action="store_true", help="leave out what OUT/manifest.jsonl says is done")
    add("--device", help="cpu, cuda, cuda:1, … (default: CUDA where there is one)")
    add("--tile", type=int, help="pixels a side that pass through the network at once (default: by the free memory)")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="larger images are skipped")
    return parser


def run(args: argparse.Namespace, rescreen: Rescreen | None = None, settings: dict | None = None) -> int:
    """Restorer, and rescreen if asked to, the folder. `settings` are what decides the new screen, for the manifest.

    Raises UserError when there is nothing to do or nothing to do it with.
    """
    tasks = plan(args.data_dir, args.save_dir, args.recursive, (RESTORED, SCREENED) if rescreen else (RESTORED,))
    made_by = {"method": args.method, "rescreen": settings}
    if args.method == "network":
        restore = trained(args)
        made_by["checkpoint"] = digest(args.model)
    else:
        if not 0 < args.strength <= 100:
            raise UserError(f"--strength {args.strength}: allowed: above 0, up to 100")
        restore = baseline_restorer(args.method, args.strength, args.mask)
        made_by |= {"strength": args.strength, "mask": args.mask}
    job = ScanJob(
        restore,
        args.save_dir,
        Manifest(args.save_dir, made_by),
        decoding=False,
        force=False,
        max_pixels=args.max_pixels,
        skip_existing=args.skip_existing,
        rescreen=rescreen,
    )
    return run_folder(tasks, job, "rescreening" if rescreen else "restoring", report)


def report(done: Finished) -> None:
    """Print a line for each scan: name, size, seconds and the screen it was printed with."""
    print(f"{'name':32}{'size':^16}{'seconds':>9}  screen found")
    for task, outcome in done:
        height, width = outcome.size
        print(f"{printable(task.name):32}{width:>7} × {height:<6}{outcome.seconds:9.2f}  {outcome.note}")


def trained(args: argparse.Namespace) -> Restorer:
    return load_trained(args.model, args.device, args.tile).restore


def load_trained(path: Path, device: str | None = None, tile: int | None = None) -> DescreenEngine:
    """A checkpoint at work. Raises UserError for a bad one, and for a tile or a device that cannot be."""
    if path == CHECKPOINT and not CHECKPOINT.exists():
        raise UserError(
            f"{CHECKPOINT}: no such checkpoint file; train one with python -m descreen.train, name another with "
            f"--model, or go on without learning: --method {'|'.join(BASELINES)}"
        )
    network = load_network(path)
    if not isinstance(network, Descreener):
        raise UserError(f"{path}: not a descreening checkpoint: holds {type(network).__name__}")
    return DescreenEngine(network, device, tile)
