"""The saved state of a run: written in rotation, found and checked when the run is resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch.optim import Optimizer

from training.config import TrainConfig, flatten_config
from training.devices import gather
from utils.checkpoint import LAST, PREVIOUS, BrokenCheckpoint, read_checkpoint, write_checkpoint
from utils.errors import UserError


def write_rotating(folder: Path, checkpoint: dict[str, Any]) -> Path:
    """Write model_last.pth.tar; the previous one becomes model_prev.pth.tar once the new one is complete."""
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
    """Read the newest complete state of a run folder, or the named file (a broken model_last falls back to model_prev).

    Returns its path, the checkpoint, and a warning when another file than the requested one was read.
    """
    target = Path(target)
    requested = target / LAST if target.is_dir() else target
    try:
        return requested, read_checkpoint(requested), None
    except UserError as error:
        older = requested.with_name(PREVIOUS)
        broken = isinstance(error, BrokenCheckpoint) or target.is_dir()
        if requested.name != LAST or not broken or not older.is_file():
            raise
        return older, read_checkpoint(older), f"{error}; using {older}"


def find_common_state(
    fabric: Fabric, config: TrainConfig, resume: str | None, report: Callable[[str], None]
) -> tuple[Path | None, dict[str, Any] | None]:
    """The checkpoint from which all processes continue: its path and content, (None, None) for a new run.

    Raises UserError in every process when one of them fails or when they find states of different steps.
    """
    path, checkpoint, failure = None, None, None
    try:
        path, checkpoint = _find_state(config, resume, report)
    except UserError as error:
        failure = str(error)
    found = gather(fabric, (failure, checkpoint.get("step") if checkpoint else None))
    failure = next((message for message, _ in found if message), None)
    if failure:
        raise UserError(failure)
    steps = [step for _, step in found]
    if len(set(steps)) > 1:
        listed = ", ".join("none" if step is None else f"step {step}" for step in steps)
        raise UserError(f"{config.run_dir}: the processes find states of different steps ({listed}); share the folder")
    return path, checkpoint


def _find_state(
    config: TrainConfig, resume: str | None, report: Callable[[str], None]
) -> tuple[Path | None, dict[str, Any] | None]:
    folder = config.run_dir
    begun = any((folder / name).exists() for name in (LAST, PREVIOUS))
    if begun and resume != "auto" and (resume is None or run_folder(resume).resolve() != folder.resolve()):
        raise UserError(
            f"{folder}: contains a run; continue it with --resume auto, choose another --set name=... or remove it"
        )
    if not begun and resume in (None, "auto"):
        if resume:
            report(f"{folder}: no run to resume, starting a new one")
        return None, None
    path, checkpoint, warning = find_checkpoint(folder if resume == "auto" else resume)
    if warning:
        report(f"warning: {warning}")
    report(f"resuming from {path}")
    before, now = _saved_config(checkpoint), flatten_config(config.dump())
    for key in sorted(before.keys() & now.keys()):
        if before[key] != now[key]:
            report(f"{key} was {json.dumps(before[key])}, is now {json.dumps(now[key])}")
    return path, checkpoint


def check_resumable(checkpoint: dict[str, Any], path: str, config: TrainConfig, steps_per_epoch: int) -> None:
    """Raise UserError for weights without the state of a run, and for a run with another batch or epoch size."""
    missing = [key for key in ("optimizer", "schedule", "terms", "rng", "step") if checkpoint.get(key) is None]
    if missing:
        raise UserError(
            f"{path}: contains weights but not the state of a run ({', '.join(missing)} missing); resume from a "
            "model_last.pth.tar, or start a new run with --set initial_ckpt"
        )
    saved, current = _saved_config(checkpoint), flatten_config(config.dump())
    keys = ("data_loader.batch_size", "data_loader.special_batch_size")
    sizes = {key: (current[key], saved.get(key, current[key])) for key in keys}
    sizes["steps in an epoch"] = steps_per_epoch, checkpoint.get("steps_per_epoch", steps_per_epoch)
    for key, (now, before) in sizes.items():
        if now != before:  # the step alone determines the position in the data and the epoch
            found, allowed = json.dumps(now), json.dumps(before)
            raise UserError(f"{path}: {key}: found {found}, allowed: {allowed}, the value of the run so far")


def restore_optimizer(optimizer: Optimizer, checkpoint: dict[str, Any], base_lr: float) -> None:
    """Load moments and rate from the checkpoint, keep all other settings; a changed base rate scales the rate."""
    configured = [{key: group[key] for key in group.keys() - {"params", "lr"}} for group in optimizer.param_groups]
    optimizer.load_state_dict(checkpoint["optimizer"])
    before = _saved_config(checkpoint).get("optimizer.lr", base_lr)
    for group, settings in zip(optimizer.param_groups, configured, strict=True):
        group.update(settings, lr=group["lr"] if before == base_lr else group["lr"] * base_lr / before)


def run_folder(resume: str) -> Path:
    """The run folder of `--resume`, a folder or a file in it."""
    return Path(resume) if Path(resume).is_dir() else Path(resume).parent


def _saved_config(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return flatten_config(checkpoint.get("config") or {})
