import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from utils.checkpoint import BEST, LAST, read_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder with an uninterrupted run and several runs that were killed and resumed."""
    folder = tmp_path_factory.mktemp("runs")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).with_name("toy.py")
    done = subprocess.run(
        [sys.executable, script, "kill", folder], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def final(folder, name):
    return read_checkpoint(folder / name / "run" / LAST)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


KILLED = ["step 1", "step 4", "step 5", "step 6", "step 8", "step 15", "save 1", "save 4", "twice"]
KILLED += ["validation 2", "validation 6"]


def test_every_killed_run_was_killed_and_every_resumed_run_finished(runs):
    statuses = json.loads((runs / "statuses.json").read_text())
    for name, status in statuses.items():
        assert status == (signal.SIGKILL if name.startswith("kill") else 0), name


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_and_resumed_run_ends_with_the_same_bits_as_an_uninterrupted_one(runs, name):
    alone, killed = final(runs, "alone"), final(runs, name)
    assert alone["step"] == 15
    for key in ("state_dict", "optimizer", "ema", "schedule", "rng", "monitor_best", "epoch", "step", "terms"):
        assert same(alone[key], killed[key]), key


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_and_resumed_run_has_the_same_best_weights(runs, name):
    best = read_checkpoint(runs / "alone" / "run" / BEST)
    assert same(best["state_dict"], read_checkpoint(runs / name / "run" / BEST)["state_dict"])


@pytest.mark.parametrize("name", KILLED)
def test_the_logs_of_a_killed_and_resumed_run_have_every_line_once(runs, name):
    alone, killed = runs / "alone" / "run", runs / name / "run"
    for file in ("total_per_epoch.txt", "restore_per_epoch.txt", "tone_per_epoch.txt"):
        assert (alone / file).read_text() == (killed / file).read_text()
        assert len((alone / file).read_text().splitlines()) == 3

    def steps(folder):
        lines = map(json.loads, (folder / "stats.jsonl").read_text().splitlines())
        return [(line["step"], line.get("validation")) for line in lines]

    assert steps(alone) == steps(killed)


def test_the_uninterrupted_run_halves_the_rate_so_that_the_schedule_is_tested(runs):
    assert final(runs, "alone")["optimizer"]["param_groups"][0]["lr"] < 1e-2
