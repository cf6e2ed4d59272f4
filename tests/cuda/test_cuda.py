"""Tests that need a GPU: `make test-cuda`. The ordinary suite deselects them.

tests/model/test_simulated_gpu.py checks the devices of all tensors of a training step without a GPU.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import inference_fast
import train
import train_invhalf
import train_warm
from descreen import train as descreen_train
from descreen.engine import DescreenEngine
from images.files import read_halftone, read_image
from metrics.quality import psnr
from model.error_gradient import by_autograd
from model.load import load_network
from model.reshalf import ResHalf
from reshalf import SHIPPED, ResHalfCodec, load_reshalf
from utils.checkpoint import BEST, LAST, read_checkpoint

ROOT = Path(__file__).parents[2]
SIDE = 64

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module", autouse=True)
def require_cuda():
    assert torch.cuda.is_available(), "make test-cuda needs a CUDA device"


@pytest.fixture(scope="module")
def astronaut():
    return read_image(ROOT / "test_imgs/astronaut.jpg").bgr


@pytest.fixture(scope="module")
def data(make_data):
    return make_data(SIDE)


@pytest.fixture
def arguments(data, tmp_path):
    """Function from settings to the command line of a small run in tmp_path."""

    def make(name, **settings):
        small = {
            "name": name,
            "data_dir": str(data),
            "save_dir": str(tmp_path),
            "multi-gpus": False,  # otherwise this test would run once per GPU
            "width": 8,
            "data_loader.batch_size": 4,
            "trainer.epochs": 4,
        }
        pairs = small | {key.replace("__", "."): value for key, value in settings.items()}
        return [part for key, value in pairs.items() for part in ("--set", f"{key}={json.dumps(value)}")]

    return make


def losses(folder):
    return [float(line) for line in (folder / "total_per_epoch.txt").read_text().split()]


COMMANDS = {
    "extractor": (train_invhalf.main, {}),
    "warm": (train_warm.main, {"featureLossWeight": 0, "structureLossWeight": 0.1}),
    "joint": (train.main, {"vggLossWeight": 0, "structureLossWeight": 0.1}),
    "corrected prior": (train.main, {"vggLossWeight": 0, "prior": {"halftone": "error_diffusion", "correction": True}}),
    "decoder on a prior": (
        train.main,
        {"vggLossWeight": 0, "prior": {"halftone": "error_diffusion"}, "decoder": "subpixel", "freeze": "encoder"},
    ),
    "descreening": (
        descreen_train.main,
        {"coarse.gram": 0, "data_loader.crop_size": 32, "data_loader.special_set": None},
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_training_losses_on_the_gpu_are_those_on_the_cpu(arguments, tmp_path, monkeypatch, name):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    command, settings = COMMANDS[name]
    for device, cuda in (("gpu", True), ("cpu", False)):
        assert command(arguments(device, cuda=cuda, seed=1, **settings)) == 0
    gpu, cpu = losses(tmp_path / "gpu"), losses(tmp_path / "cpu")
    # Noise and bit flips are drawn on the device, so the weights diverge after the first steps.
    np.testing.assert_allclose(gpu[0], cpu[0], rtol=0.1)
    assert np.isfinite(gpu).all() and gpu[-1] < gpu[0]


@pytest.mark.parametrize("switch", ["precision", "channels_last", "compile", "cuda_graph"])
def test_switches_for_speed_do_not_change_the_losses(arguments, tmp_path, switch):
    on = {"precision": "bf16-mixed", "channels_last": True, "compile": True, "cuda_graph": True}
    settings = {"vggLossWeight": 0, "trainer__epochs": 2, "cuda": True}
    assert train.main(arguments("plain", **settings)) == 0
    assert train.main(arguments("on", **settings, **{switch: on[switch]})) == 0
    np.testing.assert_allclose(losses(tmp_path / "on"), losses(tmp_path / "plain"), rtol=0.1)


def test_a_graph_of_the_warm_up_is_recorded_anew_after_the_start(arguments, tmp_path):
    settings = {"featureLossWeight": 0, "start__steps": 6, "start__weight": 0.1, "trainer__epochs": 8, "cuda": True}
    for name, graph in (("eager", False), ("graph", True)):
        assert train_warm.main(arguments(name, cuda_graph=graph, **settings)) == 0
    eager, graph = losses(tmp_path / "eager"), losses(tmp_path / "graph")
    np.testing.assert_allclose(graph, eager, rtol=0.1)


def test_an_interrupted_run_is_resumed(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    settings = {"vggLossWeight": 0, "cuda": True, "ema_decay": 0.9, "optimizer__lr": 0.003}
    assert train.main(arguments("alone", **settings)) == 0
    assert train.main(arguments("cut", trainer__max_steps=3, **settings)) == 0
    before = read_checkpoint(tmp_path / "cut" / LAST)
    assert train.main(["--resume", "auto", *arguments("cut", **settings)]) == 0
    alone, cut = (read_checkpoint(tmp_path / name / LAST) for name in ("alone", "cut"))
    assert alone["step"] == cut["step"] == 8
    # cuDNN's order of summation varies. Without the RNG state the error is 0.04, without the moments 2.
    for weights in ("state_dict", "ema"):
        assert distance(cut[weights], alone[weights]) < 0.02 * distance(before[weights], alone[weights])


def distance(a, b):
    return sum(float((a[name] - value).square().sum()) for name, value in b.items()) ** 0.5


def test_one_process_per_gpu_trains_under_torchrun(arguments, tmp_path):
    """With one GPU this tests torchrun's launch, with several also the averaging of gradients over NCCL."""
    count = torch.cuda.device_count()
    flags = arguments("all", vggLossWeight=0, cuda=True, data_loader__batch_size=4 * count, trainer__epochs=2)
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={count}", "train.py", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert load_reshalf(tmp_path / "all" / BEST).width == 8
    assert len(read_checkpoint(tmp_path / "all" / LAST)["rng"]) == count


def test_halftones_and_restorations_equal_those_of_the_cpu(astronaut):
    gpu, cpu = (ResHalfCodec(device=device) for device in ("cuda", "cpu"))
    halftone = cpu.halftone(astronaut)
    np.testing.assert_array_equal(gpu.halftone(astronaut), halftone)
    assert abs(psnr(astronaut, gpu.restore(halftone)) - psnr(astronaut, cpu.restore(halftone))) < 0.05
    float32 = ResHalfCodec(load_reshalf(SHIPPED), "cuda", precision="float32").restore(halftone)
    difference = np.abs(
        float32.astype(int) - ResHalfCodec(load_reshalf(SHIPPED), "cpu", precision="float32").restore(halftone)
    )
    assert (difference <= 1).mean() > 0.999
    best = [ResHalfCodec(device=device, best=True, rounds=2).halftone(astronaut) for device in ("cuda", "cpu")]
    on_gpu, on_cpu = (psnr(astronaut, cpu.restore(each)) for each in best)  # sums in another order move some dots
    assert abs(on_gpu - on_cpu) < 0.1


def test_the_int8_gradient_equals_that_of_the_cpu(astronaut):
    bgr, networks = astronaut[:256, :256], [load_reshalf(SHIPPED) for _ in range(2)]
    networks[0].to("cuda")
    halftone = networks[1].prior.classical_halftone(bgr)
    gradients = [
        by_autograd(network.prior, network.as_int8(network.proxy), bgr, halftone, next(network.parameters()).device)
        for network in networks
    ]
    assert np.corrcoef(*(gradient.ravel() for gradient in gradients))[0, 1] > 0.999


def test_a_tile_is_halved_when_out_of_memory(astronaut):
    large = np.tile(ResHalfCodec(device="cpu", fast=True).halftone(astronaut), (8, 8))
    expected = ResHalfCodec(load_reshalf(SHIPPED), "cuda", tile=512).restore(large)
    used = torch.cuda.memory_reserved() + 256 * 2**20
    torch.cuda.set_per_process_memory_fraction(used / torch.cuda.mem_get_info()[1])
    try:
        codec = ResHalfCodec(load_reshalf(SHIPPED), "cuda", tile=8192)
        restored = codec.restore(large)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert codec.tile < 8192
    assert np.abs(restored.astype(int) - expected).max() <= 1


def test_the_papers_network_runs_in_tiles(astronaut):
    torch.manual_seed(0)
    codec = ResHalfCodec(ResHalf(64), "cuda", tile=256, precision="float32")
    halftone = codec.halftone(astronaut)
    assert set(np.unique(halftone)) <= {0, 255}
    codec.tile = 1024
    assert (codec.halftone(astronaut) == halftone).mean() >= 0.999


def test_the_command_halftones_and_restores_a_folder(tmp_path):
    for device in ("cuda", "cpu"):
        where = ["--data_dir", str(ROOT / "test_imgs"), "--save_dir", str(tmp_path / device), "--device", device]
        assert inference_fast.main(where) == 0
    for path in (tmp_path / "cpu/halftone").iterdir():
        np.testing.assert_array_equal(read_halftone(tmp_path / "cuda/halftone" / path.name), read_halftone(path))


def test_a_scan_is_restored_as_on_the_cpu(astronaut):
    network = [load_network(ROOT / "checkpoints/descreen_best.pth.tar") for _ in range(2)]
    gpu, cpu = (
        DescreenEngine(each, device, bf16=False).restore(astronaut)
        for each, device in zip(network, ("cuda", "cpu"), strict=True)
    )
    assert (np.abs(gpu.astype(int) - cpu) <= 1).mean() > 0.999
