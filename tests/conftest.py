"""What tests of several rooms start from."""

import cv2
import numpy as np
import pytest
import torch

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
