import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from utils.checkpoint import BEST, LAST, read_checkpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder with the runs of two gloo processes under torchrun."""
    folder = tmp_path_factory.mktemp("runs")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = Path(__file__).with_name("toy.py")
    done = subprocess.run(
        [*launch, script, "processes", folder], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def state(folder, name, file=LAST):
    return read_checkpoint(folder / name / "run" / file)


def first_moments(checkpoint):
    """After one step Adam's first moment is 0.1 times the gradient."""
    return [entry["exp_avg"] for entry in checkpoint["optimizer"]["state"].values()]


def test_averaged_gradients_equal_those_of_one_process_with_the_joint_batch(runs, toy, tmp_path):
    toy.run(tmp_path, noise=0, trainer__max_steps=1, validate=False)
    alone = first_moments(read_checkpoint(tmp_path / "run" / LAST))
    together = first_moments(state(runs, "one step"))
    assert len(alone) == 4 and all(moment.abs().max() > 1e-4 for moment in alone)
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


def test_a_training_by_two_processes_equals_that_of_one_process(runs, toy, tmp_path):
    trainer = toy.run(tmp_path, noise=0)
    together = state(runs, "joint")
    for name, value in trainer.network.state_dict().items():
        torch.testing.assert_close(value, together["state_dict"][name], rtol=1e-4, atol=1e-5)
    assert together["monitor_best"] == pytest.approx(trainer.best, rel=1e-5)
    best = read_checkpoint(tmp_path / "run" / BEST)["validation"]
    assert state(runs, "joint", BEST)["validation"] == pytest.approx(best, rel=1e-3)


def test_a_resumed_run_of_two_processes_ends_with_the_same_bits_and_generators(runs):
    alone, resumed = state(runs, "alone"), state(runs, "resumed")
    assert len(alone["rng"]) == 2 and not torch.equal(alone["rng"][0]["torch"], alone["rng"][1]["torch"])
    for name, value in alone["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name])
    for a, b in zip(alone["rng"], resumed["rng"], strict=True):
        assert torch.equal(a["torch"], b["torch"])


def test_every_checkpoint_is_written_once_by_the_first_process(runs):
    writes = Counter((runs / "writes.txt").read_text().splitlines())
    assert {line.split()[0] for line in writes} == {"0"}
    assert writes["0 one step/model_last.pth.tar.new"] == 2
    assert writes["0 joint/model_last.pth.tar.new"] == 4  # before each of three validations, and at the end


def test_a_signal_to_one_process_stops_both_at_the_same_step_with_the_state_saved(runs):
    messages = {(runs / f"stopped {rank}.txt").read_text() for rank in (0, 1)}
    assert len(messages) == 1 and "SIGTERM at step 3 of 15" in messages.pop()
    assert state(runs, "stopped")["step"] == 3


def test_processes_that_find_different_states_all_end_with_a_one_line_error(runs):
    for rank in (0, 1):
        printed = (runs / f"apart {rank}.txt").read_text()
        assert printed.startswith("2 error: ") and printed.count("\n") == 1
        assert "find states of different steps (step 8, none)" in printed
    assert not (runs / "elsewhere").exists()


ORPHAN = """
import os, signal
from lightning.fabric import Fabric
from lightning.fabric.strategies import DDPStrategy
from training import devices
from reshalf.config import JointConfig
from training.config import parse_config

devices.Fabric = lambda **given: Fabric(accelerator="cpu", devices=2, strategy=DDPStrategy())
devices.torch.cuda.is_available, devices.torch.cuda.device_count = lambda: True, lambda: 2
fabric = devices.make_fabric(parse_config(JointConfig, {}))
if fabric.global_rank == 0:
    os.kill(os.getpid(), signal.SIGKILL)
signal.pause()
"""


def test_processes_launched_by_fabric_end_with_the_first_process(tmp_path):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # Both processes hold the pipe, so the call returns when the second one has ended too.
    done = subprocess.run(
        [sys.executable, script], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
