"""One folder shared among several processes: who does what, and one summary of it all in the end.

The shares are fixed by the list of tasks alone, so processes on machines that see the same folders need not talk. Each
leaves what it did in OUT/.shard-I-of-N.npz; whoever finds the reports of all takes them away and tells the whole.
Processes of one torchrun wait for one another, since torchrun ends all of them when one fails.
"""

import json
import os
import re
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch.distributed import Store, is_torchelastic_launched, rendezvous

from jobs.tasks import Task
from reshalf.folder_job import Done
from utils.errors import UserError
from utils.files import atomic_write

SHOWN = 8
"""Photographs in the overview."""

Item = TypeVar("Item")


@dataclass
class Outcome:
    """What became of `total` tasks; the first SHOWN of `done` have pictures. `full`: ended early, the disk is full."""

    total: int
    done: list[tuple[Task, Done]] = field(default_factory=list)
    kept: int = 0
    skipped: list[str] = field(default_factory=list)
    full: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Shard:
    """Share `index`, from 0, of `count`; `store` is where the processes of one torchrun meet."""

    index: int = 0
    count: int = 1
    store: Store | None = None

    def __str__(self) -> str:
        return f"shard {self.index + 1} of {self.count}"

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every count-th item."""
        return items[self.index :: self.count]

    def device(self) -> str | None:
        """Under torchrun with CUDA: the process's own device. None elsewhere."""
        if self.store is None or not torch.cuda.is_available():
            return None
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"

    def barrier(self, place: str) -> None:
        """Under torchrun: wait until all processes have come to `place`."""
        if self.store is not None:
            self.store.add(place, 1)
            while self.store.add(place, 0) < self.count:  # not in C++, where signals would wait as well
                time.sleep(0.1)


def parse_shard(text: str | None) -> Shard:
    """The share that `--shard` asks for ("2/4" is the second of four), or else RANK and WORLD_SIZE.

    Raises UserError for any other text, and for a text under torchrun, which has shared the work already.
    """
    if text is None:
        if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
            return Shard()
        rank, count = os.environ["RANK"], os.environ["WORLD_SIZE"]
        if not (rank.isdecimal() and count.isdecimal() and int(rank) < int(count)):
            raise UserError(f"RANK {rank}, WORLD_SIZE {count}: allowed: RANK from 0, below WORLD_SIZE")
        shard = Shard(int(rank), int(count))
        if shard.count > 1 and is_torchelastic_launched():
            return replace(shard, store=next(rendezvous("env://"))[0])
        return shard
    if is_torchelastic_launched():
        raise UserError(f"--shard {text}: torchrun shares the work already")
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--shard {text}: allowed: I/N, the I-th of N shares, as in 1/4 to 4/4")
    return Shard(int(found[1]) - 1, int(found[2]))


def write_report(folder: Path, shard: Shard, made_by: dict, outcome: Outcome) -> None:
    """Write what this process did for whoever tells the whole. Raises UserError when it cannot be written."""
    rows = [
        [task.path.as_posix(), task.name.as_posix(), *made[:3], made.note, len(made.pictures)]
        for task, made in outcome.done
    ]
    counts = {key: getattr(outcome, key) for key in ("total", "kept", "skipped", "full", "seconds")}
    about = {"made_by": made_by, "rows": rows, "counts": counts}
    pictures = [picture for _, made in outcome.done for picture in made.pictures]
    path = _report(folder, shard.index, shard.count)
    try:
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, np.array(json.dumps(about)), *pictures)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def remove_report(folder: Path, shard: Shard) -> None:
    """Remove what an earlier run of this share has left."""
    with suppress(OSError):
        _report(folder, shard.index, shard.count).unlink()


def collect_reports(folder: Path, shard: Shard, made_by: dict, tasks: Sequence[Task]) -> Outcome | None:
    """The outcome of all `tasks`, when every share has left a report of this very work and nobody else has taken them.

    The reports are removed; `done` is in the order of `tasks`.
    """
    paths = [_report(folder, index, shard.count) for index in range(shard.count)]
    parts = [_read(path, made_by) for path in paths]
    place = {task.name: index for index, task in enumerate(tasks)}
    if None in parts or sum(part.total for part in parts) != len(tasks):
        return None
    done = [row for part in parts for row in part.done]
    if not {task.name for task, _ in done} <= place.keys():
        return None
    try:
        paths[0].unlink()
    except OSError:  # somebody else was quicker
        return None
    for path in paths[1:]:
        path.unlink(missing_ok=True)
    return Outcome(
        len(tasks),
        sorted(done, key=lambda row: place[row[0].name]),
        sum(part.kept for part in parts),
        [name for part in parts for name in part.skipped],
        any(part.full for part in parts),
        max(part.seconds for part in parts),
    )


def _report(folder: Path, index: int, count: int) -> Path:
    return folder / f".shard-{index + 1}-of-{count}.npz"


def _read(path: Path, made_by: dict) -> Outcome | None:
    """The report at `path`; None where there is none of this work."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["arr_0"]))
            pictures = iter([arrays[f"arr_{index}"] for index in range(1, len(arrays.files))])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    if about["made_by"] != made_by:
        return None
    done = [
        (Task(Path(path), Path(name)), Done(tuple(size), *more, [next(pictures) for _ in range(count)], note))
        for path, name, size, *more, note, count in about["rows"]
    ]
    return Outcome(done=done, **about["counts"])
