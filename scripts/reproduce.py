"""Reproduce the paper's table: prepare the data, the three trainings, evaluate. See scripts/reproduce.md.

python -m scripts.reproduce --voc VOC2012 [--out runs/paper] [--recipe cpu|gpu|released] [--set KEY=VALUE ...]

After an interruption the same command continues. Exit code: that of the first step that failed, else 0. Unreadable
photographs are left out.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from images.listing import list_images
from utils.command import exit_code
from utils.errors import UserError

ROOT = Path(__file__).parents[1]
VALIDATION = 100
"""Photographs for validation, as in the paper; at most a tenth of all."""

STAGES = {
    "invhalf": ("train_invhalf.py", {}),
    "decoder": ("train.py", {}),
    "warm": ("train_warm.py", {"extractor_ckpt": "invhalf", "initial_ckpt": "decoder"}),
    "joint": ("train.py", {"initial_ckpt": "warm"}),
}
"""Script of each training, and which earlier training's checkpoint each config key takes, if the recipe has it."""
RECIPES = {
    **{kind: {stage: f"paper_{kind}_{stage}" for stage in STAGES} for kind in ("cpu", "gpu")},
    "released": {"invhalf": "inversehalf", "warm": "invhalf_warm", "joint": "invhalf_full"},
}
"""Config files of the trainings in scripts/, in order."""

SKIPPED = 3
"""Exit code of dataset.prepare when it skipped photographs."""


def commands(args: argparse.Namespace) -> list[list[str]]:
    """Arguments of the Python interpreter for each step, run from the repository's root.

    Raises UserError when the folder of photographs is missing or contains fewer than two.
    """
    photos = args.voc / "JPEGImages" if (args.voc / "JPEGImages").is_dir() else args.voc
    count = len(list_images(photos, recursive=True))
    if count < 2:
        raise UserError(f"{photos}: {count} photographs; VOC2012 has them in JPEGImages")
    share = min(VALIDATION, max(1, count // 10)) / count
    data, out = args.out / "dataset", args.out
    common = [f"data_dir={data}", f"save_dir={out}", *args.set]
    vgg = {None: [], "none": ["vggLossWeight=0"]}.get(args.vgg_weights, [f"vgg_weights={args.vgg_weights}"])
    trainings, checkpoints = [], {}
    for stage, config in RECIPES[args.recipe].items():
        script, sources = STAGES[stage]
        own = [f"{key}={checkpoints[source]}" for key, source in sources.items() if source in checkpoints]
        own += vgg if stage == "joint" and args.recipe == "released" else []
        trainings.append([script, "--config", f"scripts/{config}.json", "--resume", "auto", *settings(own + common)])
        name = json.loads((ROOT / "scripts" / f"{config}.json").read_text(encoding="utf-8"))["name"]
        checkpoints[stage] = out / name / "model_best.pth.tar"
    prepare = ["-m", "dataset.prepare", "--photos", str(photos), "--out", str(data)]
    prepare += ["--val_share", f"{share:.8f}", "--size", str(args.size)]
    measure = ["--model", str(checkpoints["joint"]), "--save_dir", str(out / "measured")]
    return [prepare, *trainings, ["evaluate.py", *measure, "--data_dir", str(data / "HalftoneVOC2012/val/target_c")]]


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("needs a folder: make reproduce VOC=path/to/VOC2012")
    return Path(text)


def settings(pairs: list[str]) -> list[str]:
    """Command-line arguments that set config keys, from KEY=VALUE."""
    return [part for pair in pairs for part in ("--set", pair)]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; folders become absolute, since the steps run from the repository's root."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--voc", type=_folder, required=True, help="the folder VOC2012, or any folder of photographs")
    add("--out", type=Path, default=Path("runs/paper"), help="data set, runs and measurements (default: %(default)s)")
    add("--size", type=int, default=256, help="side of the photographs in pixels (default: %(default)s, the paper's)")
    add(
        "--recipe",
        choices=RECIPES,
        default="cpu",
        help="cpu: for two cores; gpu: larger; released: the original's files, as published (default: %(default)s)",
    )
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key of all three trainings")
    add("--vgg_weights", help="with --recipe released: file of VGG19's weights, or none (default: download)")
    add("--dry_run", "--dry-run", action="store_true", help="print the steps and exit")
    args = parser.parse_args(argv)
    args.voc, args.out = args.voc.resolve(), args.out.resolve()
    return args


def run(args: argparse.Namespace, commands: Callable[[argparse.Namespace], list[list[str]]]) -> int:
    """Run the steps of `commands` in order; returns the exit code of the first that fails, or 0."""
    for step in commands(args):
        print("$ python " + shlex.join(step), flush=True)
        code = 0 if args.dry_run else call(step)
        if code == SKIPPED and "dataset.prepare" in step:
            print("some photographs were left out (see above); continuing with the others", flush=True)
        elif code:
            return code
    return 0


def call(step: list[str]) -> int:
    """Run a step; returns its exit code. SIGTERM and Ctrl-C are passed on, and the step may save before it ends."""
    with subprocess.Popen([sys.executable, *step], cwd=ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return exit_code(lambda: run(parse(argv), commands))


if __name__ == "__main__":
    sys.exit(main())
