"""Threads of a process: how many, and that they spin for a bounded time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from halftone import threads

ROOT = Path(__file__).parents[2]
SHOW = """
import {package}
import os, numba, torch
waiting = (os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))
print(*waiting, torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
"""

ORDER = """
import importlib, os, sys
import cv2, matplotlib, numpy, PIL.Image, pydantic, scipy.ndimage, skimage.metrics

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("numba", "torch"):
            print(module, "halftone.threads" in sys.modules, flush=True)
            os._exit(0)

sys.path.insert(0, ".")
for module in sys.argv[1:]:
    if not os.fork():
        sys.meta_path.insert(0, Watch())
        importlib.import_module(module)
        os._exit(0)
    os.wait()
"""


def started(package="reshalf", cores=None, **environment):
    """Waiting policy, limit of spinning, torch's and numba's threads of a new process that imports `package` first."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OMP_", "GOMP_", "NUMBA_", "RESHALF_"))
    }
    pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    command = [sys.executable, "-c", SHOW.format(package=package)]
    done = subprocess.run(
        command, cwd=ROOT, env=inherited | environment, preexec_fn=pin, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_every_module_that_loads_torch_or_numba_sets_the_threads_first():
    files = [path.relative_to(ROOT) for path in (*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.py"))]
    modules = sorted(
        ".".join(path.with_suffix("").parts) for path in files if path.parts[0] not in ("tests", "utils")
    )  # utils may not import halftone
    command = [sys.executable, "-c", ORDER, *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = dict(line.split() for line in done.stdout.splitlines())
    assert {"inference_fast", "train", "bench.inference_speed", "model.subpixel"} <= found.keys()
    assert [module for module, first in found.items() if first == "False"] == []


@pytest.mark.parametrize("package", ["reshalf", "training.trainer"])
def test_threads_spin_for_a_bounded_time_and_are_as_many_as_the_cores(package):
    assert started(package) == ["None", threads.SPINS, *[str(len(os.sched_getaffinity(0)))] * 2]


def test_a_process_pinned_to_one_core_has_one_thread():
    assert started(cores={min(os.sched_getaffinity(0))}) == ["None", threads.SPINS, "1", "1"]


def test_numba_follows_omp_num_threads_as_under_torchrun():
    assert started(OMP_NUM_THREADS="1") == ["None", threads.SPINS, "1", "1"]


def test_the_users_variables_are_kept():
    assert started(OMP_WAIT_POLICY="ACTIVE", OMP_NUM_THREADS="2", NUMBA_NUM_THREADS="1") == ["ACTIVE", "None", "2", "1"]


def test_a_child_decides_for_itself_what_its_parent_has_set():
    inherited = {name: "7" for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
    ours = {f"RESHALF_{name}": value for name, value in inherited.items()}
    one = {min(os.sched_getaffinity(0))}
    assert started(cores=one, **inherited, **ours) == ["None", threads.SPINS, "1", "1"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"cpu.max": "10000 100000"}, 1),
        ({}, 64),
    ],
)
def test_the_quota_of_a_container_limits_the_cores(tmp_path, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads.available_cores(tmp_path) == expected


@pytest.mark.parametrize(
    ("local", "argument", "expected"), [("4", None, 16), (None, 8, 8), (None, None, 64), (None, 99, 1)]
)
def test_the_processes_of_a_host_share_its_cores(monkeypatch, local, argument, expected):
    monkeypatch.setattr(threads, "available_cores", lambda: 64)
    for name in ("OMP_NUM_THREADS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    if local:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    assert threads.thread_count(argument) == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads.thread_count(argument) == 3


@pytest.mark.parametrize(
    ("processes", "threads_each", "expected"),
    [(None, None, 64), (None, "1", 1), (None, "3", 3), ("4", None, 64), ("4", "1", 64), ("4", "3", 12)],
)
def test_a_process_that_the_others_of_its_host_wait_for_uses_their_threads(
    monkeypatch, processes, threads_each, expected
):
    monkeypatch.setattr(threads, "available_cores", lambda: 64)
    for name, value in (("LOCAL_WORLD_SIZE", processes), ("OMP_NUM_THREADS", threads_each)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("RESHALF_OMP_NUM_THREADS", raising=False)
    assert threads.host_thread_count() == expected
