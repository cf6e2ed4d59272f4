"""Number of threads and how they wait, decided before torch and numba load: they read the environment only once.

Packages that compute import this module first. Variables that the user has set are kept.

- Waiting: by default the threads of GNU OpenMP spin for milliseconds at the end of every parallel loop. Beside another
  process, or with more threads than cores, that makes small images tens of times slower, so they sleep after
  microseconds. Sleeping at once would make small images three times slower on an idle machine.
- Number: OMP_NUM_THREADS if set (torchrun sets it to 1), else the cores that this process may use (affinity mask,
  quota of the container), divided by the training processes of the host. torch and numba get the same number.
"""

import math
import os
from pathlib import Path

SPINS = "3000"
"""Turns of the waiting loop before a thread sleeps (bench/beside_work.py)."""
_CGROUP = Path("/sys/fs/cgroup")
_OURS = "RESHALF_"
"""Prefix of a copy of each variable set here: a child process inherits it and decides for itself."""


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may use: its affinity mask, and the container's quota in `cgroup` rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for read in (_quota_v2, _quota_v1):
        try:
            quota, period = read(cgroup)
        except (OSError, ValueError):  # another version, or no limit ("max")
            continue
        if quota > 0 < period:
            cores = min(cores, math.ceil(quota / period))
    return max(cores, 1)


def thread_count(processes: int | None = None) -> int:
    """Threads of this process for parallel loops, by the rule at the head of this file.

    processes  training processes of the host; None: those of torchrun, or 1
    """
    if chosen_by_user("OMP_NUM_THREADS"):
        first = os.environ["OMP_NUM_THREADS"].split(",")[0].strip()
        if first.isdigit() and int(first):  # OpenMP ignores other values too
            return int(first)
    return max(available_cores() // (processes or int(os.environ.get("LOCAL_WORLD_SIZE", "1"))), 1)


def host_thread_count() -> int:
    """Threads of this process while the other training processes of the host wait for it: theirs and its own."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > 1 and os.environ.get("OMP_NUM_THREADS") == "1":  # torchrun sets it, whatever the number of cores
        return available_cores()
    return processes * thread_count()


def chosen_by_user(variable: str) -> bool:
    """Whether an environment variable was set by the user (or torchrun), not by this module in a parent process."""
    return variable in os.environ and os.environ.get(_OURS + variable) != os.environ[variable]


def _set_unless_chosen(variable: str, value: str) -> None:
    if not chosen_by_user(variable):
        os.environ[variable] = os.environ[_OURS + variable] = value


def _quota_v2(cgroup: Path) -> tuple[int, int]:
    quota, period = (cgroup / "cpu.max").read_text().split()
    return int(quota), int(period)


def _quota_v1(cgroup: Path) -> tuple[int, int]:
    quota, period = (int((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    return quota, period


if not chosen_by_user("OMP_WAIT_POLICY"):
    _set_unless_chosen("GOMP_SPINCOUNT", SPINS)
_set_unless_chosen("OMP_NUM_THREADS", str(thread_count()))
_set_unless_chosen("NUMBA_NUM_THREADS", str(thread_count()))
