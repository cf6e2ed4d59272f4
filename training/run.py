"""From the command line to a running Trainer, for every training script."""

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import nn

from training.checkpoints import find_common_state, folder_of
from training.config import TrainConfig, load_config
from training.devices import make_fabric
from training.initial import load_initial
from training.random_state import seed_all
from training.trainer import Objective, Trainer
from utils.checkpoint import BEST
from utils.command import exit_code
from utils.errors import UserError
from utils.files import atomic_write, locked, remove_leftovers

Build = Callable[[Any], Objective]
Streams = Callable[[Any, nn.Module, Fabric], dict[str, Any]]


def run_stage(argv: list[str] | None, kind: type[TrainConfig], description: str, build: Build, streams: Streams) -> int:
    """Parse `argv`, check everything, train. Exit codes: 0 done, 2 a mistake in the input, 128 + n signal n.

    kind     class of the stage's config
    build    config → objective on the CPU; its ValueError or UserError is reported before anything is created
    streams  config, network, fabric → the Trainer's streams by name
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", help="JSON file over the defaults")
    parser.add_argument("-r", "--resume", help="checkpoint or run folder to continue; auto: this config's, if any")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="overrides the file: optimizer.lr=1e-3"
    )
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="print the resolved config and stop")
    arguments = parser.parse_args(argv)

    def run() -> int:
        config = load_config(kind, arguments.config or _config_of(arguments.resume), arguments.set)
        if arguments.dry_run:
            print(json.dumps(config.dump(), indent=4))
        else:
            _train(config, arguments.resume, build, streams)
        return 0

    return exit_code(run)


def _train(config: TrainConfig, resume: str | None, build: Build, make_streams: Streams) -> None:
    fabric = make_fabric(config)
    say = print if fabric.is_global_zero else _silent
    say(json.dumps(config.dump(), indent=4))
    path, checkpoint = find_common_state(fabric, config, resume, say)
    objective = _build(config, checkpoint is not None, build, say)
    streams = make_streams(config, objective.network, fabric)
    trainer = Trainer(config, fabric, objective, **streams, resume=checkpoint, resume_path=str(path))
    config.run_dir.mkdir(parents=True, exist_ok=True)
    alone = locked(config.run_dir / ".lock", f"{config.run_dir}: another training is writing into it")
    with alone if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            remove_leftovers([config.run_dir])
            with atomic_write(config.run_dir / "config.json") as temporary:
                temporary.write_text(json.dumps(config.dump(), indent=4) + "\n", encoding="utf-8")
        if trainer.finished:
            say(f"{path}: already at step {trainer.step} of {trainer.total_steps}, nothing left to train")
            return
        trainer.fit()
    best = config.run_dir / BEST
    say(f"done: {trainer.step} steps, best {config.trainer.monitor} {trainer.best:.6g}, weights to use: {best}")


def _build(config: TrainConfig, resumed: bool, build: Build, say: Callable[[str], None]) -> Objective:
    seed_all(config.seed)  # every process starts from the same weights
    try:
        objective = build(config)
    except ValueError as error:
        raise UserError(str(error)) from None
    if config.initial_ckpt and not resumed:
        for part in load_initial(objective.network, config.initial_ckpt, config.not_from_initial):
            say(f"{config.initial_ckpt} has no {part}: that part is not taken from it")
    return objective


def _config_of(resume: str | None) -> Path | None:
    """The config that a run folder, or the folder of a checkpoint, keeps."""
    if resume in (None, "auto"):
        return None
    file = folder_of(resume) / "config.json"
    return file if file.is_file() else None


def _silent(message: str) -> None:
    """Print nothing, in processes other than the first."""
