"""The devices and processes of a config."""

import signal
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import distributed

from training import devices
from training.devices import make_fabric, process_group
from training.random_state import random_state, set_random_state
from utils import hardware
from utils.errors import Interrupted, UserError


def test_cuda_without_a_device_falls_back_to_the_cpu_with_a_warning(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fabric = make_fabric(toy.make_config(tmp_path, cuda=True))
    assert fabric.device.type == "cpu" and "training on the CPU" in capsys.readouterr().err


def test_a_run_on_the_cpu_does_not_initialise_a_gpu(monkeypatch):
    def fail(*arguments):
        raise AssertionError("the state of CUDA was read")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", fail)
    monkeypatch.setattr(torch.cuda, "set_rng_state", fail)
    state = random_state()
    set_random_state(state | {"cuda": state["torch"]})  # as a run on a GPU saved it


@pytest.mark.parametrize("flags", [set(), {"avx512_bf16"}, {"amx_bf16"}])
def test_bfloat16_is_used_only_where_the_processor_has_it(toy, tmp_path, monkeypatch, capsys, flags):
    monkeypatch.setattr(hardware, "cpu_flags", lambda: frozenset(flags))
    fabric = make_fabric(toy.make_config(tmp_path, cuda=False, precision="bf16-mixed"))
    warning = "precision is bf16-mixed, but this processor has no bfloat16 instructions; training in float32"
    assert (warning in capsys.readouterr().err) == (not flags)
    with fabric.autocast():
        assert torch.is_autocast_enabled("cpu") == bool(flags)


@pytest.fixture
def launched(monkeypatch):
    """Function: number of GPUs → environment and Fabric's arguments after a launch by Fabric itself."""

    def make(gpus):
        settings = {}
        fabric = SimpleNamespace(global_rank=0, is_global_zero=True, launch=lambda: None)
        monkeypatch.setattr(devices, "Fabric", lambda **given: settings.update(given) or fabric)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
        monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
        monkeypatch.setattr(devices.os, "environ", {})
        return devices.os.environ, settings

    return make


def test_processes_launched_by_fabric_get_the_environment_of_torchrun(toy, tmp_path, launched):
    environment, _ = launched(2)
    make_fabric(toy.make_config(tmp_path, cuda=True))
    assert environment == {"RANK": "0", "LOCAL_WORLD_SIZE": "2"}


@pytest.mark.parametrize(("gpus", "used"), [(1, 1), (2, 2), (3, 2), (7, 4), (8, 4)])
def test_the_largest_number_of_gpus_that_divides_the_batch_is_used(toy, tmp_path, launched, capsys, gpus, used):
    _, settings = launched(gpus)
    make_fabric(toy.make_config(tmp_path, cuda=True))
    assert settings["devices"] == used
    warning = f"training on {used} of {gpus} GPUs: data_loader.batch_size 4 is not divisible by more"
    assert (warning in capsys.readouterr().err) == (used < gpus)


def test_a_joint_batch_that_is_not_divisible_is_an_error(toy, tmp_path, monkeypatch):
    for name, value in {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="data_loader.batch_size: found 4 for 3 processes, allowed: a multiple of 3"):
        make_fabric(toy.make_config(tmp_path))


def test_several_processes_need_shuffled_photographs(toy, tmp_path, monkeypatch):
    """In order, the last batch may be short, and the gradients of unequal parts would get equal weights."""
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="data_loader.shuffle: found false for 2 processes, allowed: true"):
        make_fabric(toy.make_config(tmp_path, data_loader__shuffle=False))


@pytest.mark.parametrize(
    "error, ended", [(None, True), (Interrupted(signal.SIGTERM, "stopped"), True), (UserError("no such file"), False)]
)
def test_the_process_group_is_destroyed_unless_others_may_wait_for_this_process(error, ended):
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        with nullcontext() if error is None else pytest.raises(type(error)), process_group():
            if error is not None:
                raise error
        assert distributed.is_initialized() != ended
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
