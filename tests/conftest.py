"""What tests of several rooms start from."""

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
