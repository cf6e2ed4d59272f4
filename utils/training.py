"""From the command line to a running Trainer: what train_invhalf.py, train_warm.py and train.py share."""

import argparse
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from utils.checkpoint import BEST, LAST, PREVIOUS, find_checkpoint, read_checkpoint
from utils.config import Stage, TrainConfig, flatten, load_config
from utils.dataset import BatchStream
from utils.devices import gather, make_fabric
from utils.errors import UserError
from utils.files import atomic_write, locked, remove_leftovers
from utils.photo_set import PhotoSet
from utils.randomness import seed_all
from utils.trainer import Interrupted, Trainer
from utils.validation import flat_grays

CACHES_KEPT = 4
"""Classical halftones that are kept beside a photo set, the last used ones: each prior and proxy makes its own."""

Build = Callable[[Any], nn.Module]
Streams = Callable[[Any, nn.Module, Fabric], dict[str, Any]]


def run_stage(
    argv: list[str] | None,
    stage: Stage | type[TrainConfig],
    description: str,
    build: Build,
    streams: Streams | None = None,
) -> int:
    """Parse `argv`, check everything, train. Exit codes: 0 done, 2 a mistake in the input, 128 + n signal n.

    stage    a stage of utils.config.CONFIGS, or the class of its config
    build    config → objective on the CPU; its ValueError or UserError is reported before anything is created
    streams  config, network, fabric → the Trainer's streams by name; `photo_streams` when None
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-c", "--config", help="JSON file over the defaults")
    parser.add_argument("-r", "--resume", help="checkpoint or run folder to go on from; auto: this config's, if any")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="beats the file: optimizer.lr=1e-3"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config and stop")
    arguments = parser.parse_args(argv)
    try:
        config = load_config(stage, arguments.config or _config_of(arguments.resume), arguments.set)
        if arguments.dry_run:
            print(json.dumps(config.dump(), indent=4))
        else:
            _train(config, arguments.resume, build, streams or photo_streams)
    except UserError as error:
        return _fail(f"error: {error}", 2)
    except OSError as error:
        return _fail(f"error: {error.filename or 'a file'}: {error.strerror or error}", 2)
    except Interrupted as stopped:
        return _fail(str(stopped), 128 + stopped.signum)
    except KeyboardInterrupt:
        return _fail("stopped before the first step, nothing to save", 130)
    return 0


def load_initial(network: nn.Module, path: str) -> list[str]:
    """Load the weights of a checkpoint into `network`; the names of its halves that the checkpoint does not have.

    Those stay as they were built: a learned correction, where the checkpoint's encoder is a classical halftone alone.
    So does the proxy, which is `proxy_ckpt`'s. Raises UserError when the rest does not fit.
    """
    try:
        state, _ = _apart(read_checkpoint(path)["state_dict"])
    except UserError as error:
        raise UserError(f"initial_ckpt: {error}") from None
    own, proxy = _apart(network.state_dict())
    there = {_half(key) for key in state}
    kept = {key: value for key, value in own.items() if _half(key) not in there}
    try:
        if kept.keys() == own.keys():
            raise RuntimeError("no weights of this network inside")
        network.load_state_dict(state | kept | proxy)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"initial_ckpt: {path} does not fit the configured network: {reason}") from None
    return sorted({_half(key) for key in kept})


def _apart(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a network without its proxy, and those of the proxy."""
    proxy = {key: value for key, value in state.items() if key.startswith("proxy.")}
    return {key: value for key, value in state.items() if key not in proxy}, proxy


def _half(key: str) -> str:
    """The half of a network, encoder or decoder, that a weight belongs to."""
    return key.split(".")[0]


def photo_streams(config: TrainConfig, network: nn.Module, fabric: Fabric) -> dict[str, BatchStream | None]:
    """Batches to train on, pictures to measure and flat grays for the spectrum, under the Trainer's names for them."""
    data = config.data_loader
    photos = PhotoSet.from_lists(config.data_dir, data.dataset, "train")
    specials = PhotoSet.from_lists(config.data_dir, data.special_set, "train") if data.special_set else None
    measured = PhotoSet.from_lists(config.data_dir, data.dataset, "val") if config.trainer.validate_every else None
    flat = flat_grays() if measured and hasattr(network, "encode") else None
    sets = [photo_set for photo_set in (photos, specials, measured, flat) if photo_set is not None]
    for photo_set in sets:
        photo_set.verify()
    share = {"seed": config.seed, "rank": fabric.global_rank, "world_size": fabric.world_size}
    stream = BatchStream(
        photos,
        specials,
        batch_size=data.batch_size,
        crop_size=data.crop_size,
        flip=data.flip,
        shuffle=data.shuffle,
        num_workers=data.num_workers,
        **share,
    )
    if getattr(network, "prior", None) is not None:
        threads = torch.get_num_threads()
        with _first_on_each_host(fabric):  # the others find its work in the cache
            for photo_set in sets:
                _add_prior(photo_set, network, Path(config.data_dir))
        torch.set_num_threads(threads)  # numba's parallel loops change it, and sums depend on it
    in_order = {"batch_size": data.batch_size, "shuffle": False, **share}
    return {
        "stream": stream,
        "validation": BatchStream(measured, **in_order) if measured else None,
        "flat": BatchStream(flat, **(in_order | {"rank": 0, "world_size": 1})) if flat else None,
    }


def _train(config: TrainConfig, resume: str | None, build: Build, make_streams: Streams) -> None:
    fabric = make_fabric(config)
    say = print if fabric.is_global_zero else _silent
    say(json.dumps(config.dump(), indent=4))
    path, checkpoint = _find_same_state(fabric, config, resume, say)
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


def _build(config: TrainConfig, resumed: bool, build: Build, say: Callable[[str], None]) -> nn.Module:
    seed_all(config.seed)  # every process starts from the same weights
    try:
        objective = build(config)
    except ValueError as error:
        raise UserError(str(error)) from None
    if config.initial_ckpt and not resumed:
        for part in load_initial(objective.network, config.initial_ckpt):
            say(f"{config.initial_ckpt} has no {part}: that part is not taken from it")
    return objective


def _add_prior(photo_set: PhotoSet, network: nn.Module, data_dir: Path) -> None:
    key = network.prior_key()
    file = f".prior_{photo_set.name.replace(', ', '_')}_{zlib.crc32(key.encode()):08x}.npz"
    cache = data_dir / file if photo_set.name != "arrays" and os.access(data_dir, os.W_OK) else None
    photo_set.add_prior(network.prior_halftone, cache=cache, key=key)
    if cache:
        with suppress(OSError):  # somebody else's, or gone already
            os.utime(cache)
            others = data_dir.glob(f"{file.rpartition('_')[0]}_*.npz")
            for old in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[CACHES_KEPT:]:
                old.unlink()


@contextmanager
def _first_on_each_host(fabric: Fabric) -> Iterator[None]:
    """The first process of each host goes through the `with` before the others."""
    if fabric.local_rank != 0:
        fabric.barrier()
    yield
    if fabric.local_rank == 0:
        fabric.barrier()


def _find_same_state(
    fabric: Fabric, config: TrainConfig, resume: str | None, say: Callable[[str], None]
) -> tuple[Path | None, dict | None]:
    """`_find_state` of every process; UserError in all of them where one fails or they do not stand at one step."""
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


def _find_state(config: TrainConfig, resume: str | None, say: Callable[[str], None]) -> tuple[Path | None, dict | None]:
    """The checkpoint to go on from, or None for a new run; the folder must not hold the state of another."""
    folder = config.run_dir
    begun = any((folder / name).exists() for name in (LAST, PREVIOUS))
    if begun and resume != "auto" and (resume is None or _folder_of(resume).resolve() != folder.resolve()):
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
    before, now = flatten(checkpoint.get("config") or {}), flatten(config.dump())
    for key in sorted(before.keys() & now.keys()):
        if before[key] != now[key]:
            say(f"{key} was {json.dumps(before[key])}, is now {json.dumps(now[key])}")
    return path, checkpoint


def _config_of(resume: str | None) -> Path | None:
    """The config that a run folder, or the folder of a checkpoint, keeps."""
    if resume in (None, "auto"):
        return None
    file = _folder_of(resume) / "config.json"
    return file if file.is_file() else None


def _folder_of(resume: str) -> Path:
    return Path(resume) if Path(resume).is_dir() else Path(resume).parent


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _silent(message: str) -> None:
    """What processes other than the first say."""
