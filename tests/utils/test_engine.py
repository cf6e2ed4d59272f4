"""Whole photographs through a network: tiles agree with the whole, and the border of a tile is seen nowhere."""

import numpy as np
import pytest
import torch

from model.prior import Prior
from model.reshalf import ResHalf
from utils.engine import Engine


def network(prior=None):
    torch.manual_seed(0)
    return ResHalf(4, prior)


def photo(height, width):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([128 + 100 * np.sin(x / 9 + y / phase) for phase in (5, 11, 23)], -1).round().astype(np.uint8)


@pytest.mark.parametrize("prior", [None, Prior(), Prior(halftone="error_diffusion", correction=True)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (200, 333), (257, 129)])
def test_tiles_equal_the_whole(prior, height, width):
    bgr = photo(height, width)
    whole, tiled = (Engine(network(prior), "cpu", tile, bf16=False) for tile in (1024, 64))
    halftone = whole.halftone(bgr)
    assert halftone.shape == (height, width) and set(np.unique(halftone)) <= {0, 255}
    assert (tiled.halftone(bgr) == halftone).mean() >= 0.9999
    restored = whole.restore(halftone)
    assert restored.shape == (height, width, 3) and restored.dtype == np.uint8
    assert np.abs(tiled.restore(halftone).astype(int) - restored).max() <= 1


def test_memory_and_file_restore_alike():
    """The halftone handed on in memory and the one read back from a file are the same bits, so are the restorations."""
    bgr, engine = photo(40, 50), Engine(network(Prior()), "cpu", bf16=False)
    with torch.inference_mode():
        colour = torch.from_numpy(bgr).permute(2, 0, 1)[None].float() / 127.5 - 1
        in_memory = engine.network(colour, engine.network.guide(bgr))
    halftone = engine.halftone(bgr)
    assert np.array_equal(in_memory.halftone[0, 0].numpy() > 0, halftone > 0)
    levels = ((in_memory.restored[0] / 2 + 0.5) * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()
    assert np.array_equal(levels, engine.restore(halftone))


def test_seed_decides_the_noise():
    bgr = photo(64, 64)
    first, again, other = (Engine(network(), "cpu", seed=seed).network.guide(bgr, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_tile_that_does_not_fit_the_network_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        Engine(network(), "cpu", tile=100)


