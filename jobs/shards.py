"""One folder shared among several processes: the shard of each, and the combined outcome.

The shards depend on the list of tasks alone, so machines that see the same folders need no other connection. Each
adds a line to the manifest when it starts and when it ends; the process whose line completes the set reports the
combined outcome. Processes of one torchrun wait for each other, since torchrun ends all of them when one fails.
"""

import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace

import torch
from torch.distributed import Store, is_torchelastic_launched, rendezvous

from jobs.manifest import ALL_SHARDS, Manifest
from jobs.tasks import Task
from utils.errors import UserError

SHARD_HELP = "process shard I of N only; not needed under torchrun"


@dataclass
class Outcome:
    """Counts of a run: `kept` were finished before, `unfinished` were skipped or, on a `full` disk, not processed."""

    total: int
    done: int = 0
    kept: int = 0
    unfinished: list[str] = field(default_factory=list)
    full: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Shard:
    """Shard `index`, from 0, of `count`; `store` connects the processes of one torchrun."""

    index: int = 0
    count: int = 1
    store: Store | None = None

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    def of(self, tasks: Sequence[Task]) -> Sequence[Task]:
        """Every count-th task."""
        return tasks[self.index :: self.count]

    def device(self) -> str | None:
        """Under torchrun with CUDA: the process's own device. None elsewhere."""
        if self.store is None or not torch.cuda.is_available():
            return None
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"

    def barrier(self, name: str) -> None:
        """Under torchrun: wait until all processes have reached the barrier `name`."""
        if self.store is not None:
            self.store.add(name, 1)
            while self.store.add(name, 0) < self.count:  # not Store.wait, which delays signals
                time.sleep(0.1)


def parse_shard(text: str | None) -> Shard:
    """The shard of the flag --shard ("2/4" is the second of four); without it, of RANK and WORLD_SIZE.

    Raises UserError for any other text, and for any text under torchrun, which sets RANK and WORLD_SIZE itself.
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
        raise UserError(f"--shard {text}: not under torchrun, which assigns the shards itself")
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--shard {text}: allowed: I/N, shard I of N, as in 1/4 to 4/4")
    return Shard(int(found[1]) - 1, int(found[2]))


def combined_outcome(mine: Outcome, total: int, manifest: Manifest, shard: Shard) -> Outcome | None:
    """Record that this shard has ended; in one process, return the outcome of all `total` tasks, else None.

    It is rank 0 under torchrun, elsewhere the process that ends last. All return None if a shard has not ended or had
    other settings. Raises UserError when the manifest cannot be written or read.
    """
    try:
        manifest.add_shard(str(shard), asdict(mine))
    finally:
        shard.barrier("ended")
    if shard.store is not None and shard.index > 0:
        return None
    manifest.load()
    names = {str(Shard(index, shard.count)) for index in range(shard.count)}
    ended = [line for name, line in manifest.shards.items() if name in names]
    outcomes = [Outcome(**line["outcome"]) for line in ended if line.get("made_by") == manifest.made_by]
    if len(outcomes) < shard.count or sum(each.total for each in outcomes) != total:
        return None
    if shard.store is None and ended[-1]["shard"] != str(shard):  # the lines have the same order for all processes
        return None
    with suppress(UserError):
        manifest.add_shard(ALL_SHARDS, None)
    return Outcome(
        total,
        sum(each.done for each in outcomes),
        sum(each.kept for each in outcomes),
        [name for each in outcomes for name in each.unfinished],
        any(each.full for each in outcomes),
        max(each.seconds for each in outcomes),
    )
