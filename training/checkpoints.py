"""The state of a run on disk: written in rotation, found again when a run is resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric

from training.config import TrainConfig, flatten_config
from training.devices import gather
from utils.checkpoint import LAST, PREVIOUS, BrokenCheckpoint, read_checkpoint, write_checkpoint
from utils.errors import UserError


def write_rotating(folder: Path, checkpoint: dict[str, Any]) -> Path:
    """Write model_last.pth.tar; the one before it becomes model_prev.pth.tar, untouched until the new one is whole."""
    last = folder / LAST
    fresh = folder / f"{LAST}.new"
    try:
        write_checkpoint(fresh, checkpoint)
    except UserError as error:
        kept = f", {last} is kept" if last.exists() else ""
        raise UserError(f"{error}{kept}") from None
    if last.exists():
        last.replace(folder / PREVIOUS)
    fresh.replace(last)
    return last


def find_checkpoint(target: str | Path) -> tuple[Path, dict[str, Any], str | None]:
    """Read the newest whole checkpoint of a run folder, or the file named (for model_last, else the one before it).

    Returns its path, the checkpoint, and a line to print when it is not the one asked for.
    """
    target = Path(target)
    asked = target / LAST if target.is_dir() else target
    try:
        return asked, read_checkpoint(asked), None
    except UserError as error:
        older = asked.with_name(PREVIOUS)
        broken = isinstance(error, BrokenCheckpoint) or target.is_dir()
        if asked.name != LAST or not broken or not older.is_file():
            raise
        return older, read_checkpoint(older), f"{error}; using {older}"


def find_common_state(
    fabric: Fabric, config: TrainConfig, resume: str | None, say: Callable[[str], None]
) -> tuple[Path | None, dict[str, Any] | None]:
    """The checkpoint from which all processes continue: its path and content, None for a new run.

    Raises UserError in every process where one fails or they find states of different steps.
    """
    path, checkpoint, mistake = None, None, None
    try:
        path, checkpoint = _find_state(config, resume, say)
    except UserError as error:
        mistake = str(error)
    found = gather(fabric, (mistake, checkpoint.get("step") if checkpoint else None))
    mistake = next((message for message, _ in found if message), None)
    if mistake:
        raise UserError(mistake)
    steps = [step for _, step in found]
    if len(set(steps)) > 1:
        stands = ", ".join("none" if step is None else f"step {step}" for step in steps)
        raise UserError(f"{config.run_dir}: the processes find states of different steps ({stands}); share the folder")
    return path, checkpoint


def _find_state(
    config: TrainConfig, resume: str | None, say: Callable[[str], None]
) -> tuple[Path | None, dict[str, Any] | None]:
    folder = config.run_dir
    begun = any((folder / name).exists() for name in (LAST, PREVIOUS))
    if begun and resume != "auto" and (resume is None or folder_of(resume).resolve() != folder.resolve()):
        raise UserError(
            f"{folder}: holds a run already; go on with --resume auto, choose another --set name=... or remove it"
        )
    if not begun and resume in (None, "auto"):
        if resume:
            say(f"{folder}: no run to resume, starting a new one")
        return None, None
    path, checkpoint, notice = find_checkpoint(folder if resume == "auto" else resume)
    if notice:
        say(f"warning: {notice}")
    say(f"resuming from {path}")
    before, now = flatten_config(checkpoint.get("config") or {}), flatten_config(config.dump())
    for key in sorted(before.keys() & now.keys()):
        if before[key] != now[key]:
            say(f"{key} was {json.dumps(before[key])}, is now {json.dumps(now[key])}")
    return path, checkpoint


def folder_of(resume: str) -> Path:
    """The run folder that `--resume` names, by itself or by a file in it."""
    return Path(resume) if Path(resume).is_dir() else Path(resume).parent
