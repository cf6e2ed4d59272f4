"""Images/s of each stage of the paper's recipe, and what parts of it cost.

    python bench/stage_throughput.py [--recipe cpu] [--seconds 20] [--set KEY=VALUE ...]

All rows are steps of training.trainer with the configs scripts/paper_RECIPE_*.json on random images, in turns in one
process; the rows below a stage leave a part of it out. The median time of a step counts.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from halftone import threads  # noqa: E402, F401  sets the threads before torch loads

# isort: split
import torch  # noqa: E402

from bench.train_throughput import WARM_UP, photographs, synchronize  # noqa: E402
from dataset.batches import BatchStream  # noqa: E402
from model.reshalf import InverseHalf  # noqa: E402
from reshalf.config import InvHalfConfig, JointConfig, WarmConfig  # noqa: E402
from reshalf.stages import build_invhalf, joint_objective, new_reshalf, warm_objective  # noqa: E402
from training.config import load_config  # noqa: E402
from training.devices import make_fabric  # noqa: E402
from training.trainer import Trainer  # noqa: E402

NO_CONSTANTS = ["data_loader.special_set=null", "blueNoiseLossWeight=0"]
ROWS = {
    "extractor": ("invhalf", []),
    "decoder alone": ("decoder", []),
    "start of the warm-up": ("warm", []),
    "warm-up": ("warm", ["start.steps=0"]),
    "warm-up without the extractor": ("warm", ["start.steps=0", "featureLossWeight=0"]),
    "warm-up without constant colours": ("warm", ["start.steps=0", *NO_CONSTANTS]),
    "joint": ("joint", []),
    "joint without constant colours": ("joint", NO_CONSTANTS),
}
"""Row → stage and overrides of its config."""
KINDS = {"invhalf": InvHalfConfig, "decoder": JointConfig, "warm": WarmConfig, "joint": JointConfig}
SIDE = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of the measurement per row")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of all configs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = {name: make_step(row, arguments, folder) for name, row in ROWS.items()}
        times = {name: [] for name in steps}
        for step, _ in steps.values():
            for _ in range(WARM_UP):
                step()
        end = time.perf_counter() + arguments.seconds * len(steps)
        while time.perf_counter() < end:
            for name, (step, _) in steps.items():
                start = time.perf_counter()
                step()
                synchronize(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
                times[name].append(time.perf_counter() - start)
    print(f"{torch.get_num_threads()} threads; {arguments.recipe} recipe")
    print(f"{'stage':34}{'photographs/s':>15}{'ms per step':>13}")
    for name, (_, batch) in steps.items():
        seconds = statistics.median(times[name])
        print(f"{name:34}{batch / seconds:15.1f}{1000 * seconds:13.1f}")


def make_step(row: tuple[str, list[str]], arguments: argparse.Namespace, folder: str) -> tuple[Callable[[], None], int]:
    """A training step of a row of ROWS, and its number of photographs."""
    stage, overrides = row
    overrides = [*overrides, "initial_ckpt=null", "multi-gpus=false", f"save_dir={folder}", *arguments.set]
    config = load_config(KINDS[stage], f"scripts/paper_{arguments.recipe}_{stage}.json", overrides)
    torch.manual_seed(0)
    if stage == "invhalf":
        objective = build_invhalf(config)
    elif stage == "warm":
        extractor = InverseHalf(config.width) if config.featureLossWeight else None
        objective = warm_objective(config, new_reshalf(config), extractor)
    else:
        objective = joint_objective(config, new_reshalf(config), None)
    data = config.data_loader
    options = data.model_dump(include={"batch_size", "special_batch_size", "crop_size", "flip"})
    photos = photographs(2 * data.batch_size, SIDE)
    stream = BatchStream(photos, photos if data.special_set else None, **options, seed=0)
    settings = config.trainer.model_copy(update={"monitor": "loss"})
    trainer = Trainer(config.model_copy(update={"trainer": settings}), make_fabric(config), objective, stream)
    batches = trainer.batches()
    return lambda: trainer.train_step(next(batches)), data.batch_size


if __name__ == "__main__":
    main()
