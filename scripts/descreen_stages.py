"""Train the networks of descreening one after another at a small scale, and show what each adds.

    python -m scripts.descreen_stages --photos FOLDER [--out runs/descreen] [--steps 800] [--object_weights FOLDER]
                                      [--set KEY=VALUE ...]

CoarseNet, then EdgeNet, then DetailsNet three times: alone, with object maps, and with these and both discriminators.
The object maps are those of ObjectNet with --object_weights, else of its small replacement. The configs are
scripts/descreen_*.json at width 16, with --steps steps each. The table compares these four systems with the filters on
the validation photographs, a fiftieth of all.

After an interruption the same command continues. Exit code: that of the first step that failed, else 0.
"""

import argparse
import sys
from pathlib import Path

from scripts import reproduce
from utils.command import exit_code

EPOCHS = 4
"""Validations of each training."""
COMMON = {"width": 16, "trainer.epochs": EPOCHS, "trainer.validate_every": 1, "trainer.save_epochs": 1}
DETAILS = {
    "details": {"objects": "none", "details.adversarial": 0},
    "objects": {"objects": "small", "details.adversarial": 0},
    "discriminators": {"objects": "small"},
}
"""Settings of the trainings of DetailsNet, by what the network has in addition to the one before."""
KINDS = ("AM", "AM, flawed press", "floyd_steinberg")


def commands(args: argparse.Namespace) -> list[list[str]]:
    """Arguments of the Python interpreter for each step, run from the repository's root."""
    data, out = args.out / "dataset", args.out
    weights = {name: out / name / "model_best.pth.tar" for name in ("coarse", "edge", *DETAILS)}
    stages = {"coarse": ("coarse", {}), "edge": ("edge", {"coarse_ckpt": weights["coarse"]})}
    parser = {"objects": "parser", "object_weights": args.object_weights} if args.object_weights else {}
    for name, own in DETAILS.items():
        objects = parser if own["objects"] == "small" else {}
        stages[name] = ("details", {"edge_ckpt": weights["edge"]} | own | objects)
    steps = [["-m", "dataset.prepare", "--photos", str(args.photos), "--out", str(data), "--specials", "1"]]
    for name, (config, own) in stages.items():
        each = {"name": name, "data_dir": data, "save_dir": out, "trainer.steps_per_epoch": args.steps // EPOCHS}
        pairs = [f"{key}={value}" for key, value in (COMMON | each | own).items()] + args.set
        train = ["-m", "descreen.train", "--config", f"scripts/descreen_{config}.json", "--resume", "auto"]
        steps.append([*train, *reproduce.settings(pairs)])
    models = [str(path) for name, path in weights.items() if name != "edge"]
    return [*steps, ["-m", "descreen.evaluate", "--data_dir", str(data), "--model", *models, "--kinds", *KINDS]]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; folders become absolute, since the steps run from the repository's root."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", type=Path, required=True, help="folder of photographs")
    add("--out", type=Path, default=Path("runs/descreen"), help="data set and runs (default: %(default)s)")
    add("--steps", type=int, default=800, help="steps of each training (default: %(default)s)")
    add("--object_weights", type=Path, help="folder with the scene parser's encoder*.pth and decoder*.pth")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="override a config key of all trainings")
    add("--dry_run", "--dry-run", action="store_true", help="print the steps and exit")
    args = parser.parse_args(argv)
    if args.steps < EPOCHS:
        parser.error(f"--steps {args.steps}: at least {EPOCHS}")
    args.photos, args.out = args.photos.resolve(), args.out.resolve()
    if args.object_weights:
        args.object_weights = args.object_weights.resolve()
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    return exit_code(lambda: reproduce.run(parse(argv), commands))


if __name__ == "__main__":
    sys.exit(main())
