"""Fixtures shared by the tests of several packages."""

import json

import cv2
import numpy as np
import pytest
import torch

import inference_fast
from halftone.variable_diffusion import ostromoukhov
from images.files import write_halftone, write_image
from model.prior import Prior
from model.reshalf import ResHalf
from utils.checkpoint import write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny, untrained ResHalf on the dither prior, as a file."""
    torch.manual_seed(0)
    network = ResHalf(4, Prior())
    path = tmp_path_factory.mktemp("model") / "model_best.pth.tar"
    write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch()})
    return path


@pytest.fixture(scope="module")
def with_pilot(tmp_path_factory):
    """The path of a tiny, untrained ResHalf whose halftones carry a strong pilot."""
    torch.manual_seed(0)
    network = ResHalf(4, Prior(pilot=0.01, passes=2))
    path = tmp_path_factory.mktemp("model") / "model_best.pth.tar"
    write_checkpoint(path, {"state_dict": network.state_dict(), "arch": network.arch()})
    return path


@pytest.fixture(scope="module")
def proxy():
    """A subpixel decoder with a small residual."""
    torch.manual_seed(0)
    network = ResHalf(16, {}, decoder="subpixel")
    torch.nn.init.normal_(network.decoder.outConv[-1].weight, std=0.01)
    return network


@pytest.fixture
def run():
    """Function: inference_fast.py on the CPU with a checkpoint, a folder of inputs and an output folder."""

    def call(checkpoint, photos, out, *more):
        folders = ["--model", str(checkpoint), "--data_dir", str(photos), "--save_dir", str(out)]
        return inference_fast.main([*folders, "--device", "cpu", *more])

    return call


@pytest.fixture
def make_photos(tmp_path):
    """Function from (H, W) by name to a folder of such photographs, NAME.png, soft noise."""

    def make(sizes):
        folder = tmp_path / "photos"
        folder.mkdir()
        random = np.random.default_rng(0)
        for name, size in sizes.items():
            noise = random.integers(0, 256, (*size, 3), np.uint8)
            cv2.imwrite(str(folder / f"{name}.png"), cv2.GaussianBlur(noise, (5, 5), 2))
        return folder

    return make


@pytest.fixture(scope="session")
def make_data(tmp_path_factory):
    """Function from a side in pixels to a new data folder: 8 smooth photographs to train on, 2 to validate with, 4
    constant colours."""

    def make(side):
        folder, random, lists = tmp_path_factory.mktemp("data"), np.random.default_rng(0), {}
        for name, count, cells in (("train", 8, 4), ("val", 2, 4), ("special", 4, 1)):
            (folder / name).mkdir()
            lists[name] = {"inputs": [], "labels": []}
            for number in range(count):
                bgr = cv2.resize(random.integers(0, 256, (cells, cells, 3)).astype(np.uint8), (side, side))
                photo, halftone = f"{name}/{number}.png", f"{name}/{number}_halftone.png"
                write_image(folder / photo, bgr)
                write_halftone(folder / halftone, ostromoukhov(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)))
                lists[name]["inputs"].append(photo)
                lists[name]["labels"].append(halftone)
        (folder / "HalftoneVOC2012.json").write_text(json.dumps({"train": lists["train"], "val": lists["val"]}))
        (folder / "special_color.json").write_text(json.dumps({"train": lists["special"], "val": lists["special"]}))
        return folder

    return make
