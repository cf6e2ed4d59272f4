"""The command of every training script: command line, config, resume, Trainer."""

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import nn

from training.checkpoints import find_common_state, run_folder
from training.config import TrainConfig, load_config
from training.devices import make_fabric, process_group
from training.initial import load_initial
from training.protocols import Objective
from training.random_state import seed_all
from training.streams import photo_streams
from training.trainer import Trainer
from utils.checkpoint import BEST
from utils.command import exit_code
from utils.errors import UserError
from utils.files import atomic_write, locked, remove_leftovers

Build = Callable[[Any], Objective]
Streams = Callable[[Any, Fabric], dict[str, Any]]
Adapt = Callable[[Any, nn.Module, Fabric, dict[str, Any]], dict[str, Any]]


def run_stage(
    argv: list[str] | None,
    kind: type[TrainConfig],
    description: str,
    build: Build,
    streams: Streams = photo_streams,
    adapt: Adapt | None = None,
) -> int:
    """Parse `argv`, check the input, train. Exit codes: 0 done, 2 error in the input, 128 + n signal n.

    kind     class of the stage's config, which the functions receive
    build    config → objective on the CPU; its ValueError or UserError is reported before anything is written
    streams  config, fabric → the Trainer's streams by argument name; called before `build`, so that the data is checked
             before weights are loaded or downloaded
    adapt    config, network, fabric, streams → the streams that the network needs; None: as they are
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", help="JSON file that changes the defaults")
    parser.add_argument("-r", "--resume", help="checkpoint or run folder to continue; auto: this config's, if any")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a key, for example optimizer.lr=1e-3"
    )
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="print the resolved config and exit")
    arguments = parser.parse_args(argv)

    def run() -> int:
        config = load_config(kind, arguments.config or _run_config(arguments.resume), arguments.set)
        if arguments.dry_run:
            print(json.dumps(config.dump(), indent=4))
        else:
            with process_group():
                _train(config, arguments.resume, build, streams, adapt)
        return 0

    return exit_code(run)


def _train(config: TrainConfig, resume: str | None, build: Build, make_streams: Streams, adapt: Adapt | None) -> None:
    fabric = make_fabric(config)
    report = print if fabric.is_global_zero else (lambda message: None)
    report(json.dumps(config.dump(), indent=4))
    path, checkpoint = find_common_state(fabric, config, resume, report)
    streams = make_streams(config, fabric)
    objective = _build(config, checkpoint is not None, build, report)
    if adapt is not None:
        streams = adapt(config, objective.network, fabric, streams)
    trainer = Trainer(config, fabric, objective, **streams, resume=checkpoint, resume_path=str(path))
    config.run_dir.mkdir(parents=True, exist_ok=True)
    lock = locked(config.run_dir / ".lock", f"{config.run_dir}: another training is writing into it")
    with lock if fabric.is_global_zero else nullcontext():
        if fabric.is_global_zero:
            remove_leftovers([config.run_dir])
            with atomic_write(config.run_dir / "config.json") as temporary:
                temporary.write_text(json.dumps(config.dump(), indent=4) + "\n", encoding="utf-8")
        if trainer.finished:
            report(f"{path}: already at step {trainer.step} of {trainer.total_steps}, nothing left to train")
            return
        trainer.fit()
    best = config.run_dir / BEST
    report(f"done: {trainer.step} steps, best {config.trainer.monitor} {trainer.best:.6g}, weights to use: {best}")


def _build(config: TrainConfig, resumed: bool, build: Build, report: Callable[[str], None]) -> Objective:
    seed_all(config.seed)  # every process starts from the same weights
    try:
        objective = build(config)
    except ValueError as error:
        raise UserError(str(error)) from None
    if config.initial_ckpt and not resumed:
        for part in load_initial(objective.network, config.initial_ckpt, config.excluded_from_initial):
            report(f"{config.initial_ckpt} has no {part}; this part keeps its own initial weights")
    return objective


def _run_config(resume: str | None) -> Path | None:
    """The config file in the run folder of `--resume`, if any."""
    if resume in (None, "auto"):
        return None
    file = run_folder(resume) / "config.json"
    return file if file.is_file() else None
