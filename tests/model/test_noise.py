"""The encoder's noise channel, white and blue."""

import numpy as np
import pytest
import torch

from model.load import build_network
from model.noise import KINDS, NOISE, noise_channel
from model.reshalf import ResHalf


def low_frequency_share(plane):
    """Power below a tenth of a cycle per pixel, relative to that of white noise of the same variance."""
    power = np.abs(np.fft.fft2(plane)) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(len(plane)), np.fft.fftfreq(len(plane))))
    return power[radius < 0.1].mean() / power.mean()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [None, 3])
def test_both_kinds_are_normal_with_the_paper_s_standard_deviation(kind, seed):
    torch.manual_seed(0)
    values = np.sort(noise_channel(kind, 4, 64, 128, seed)[:1].numpy(), axis=None) / NOISE
    assert values.mean() == pytest.approx(0, abs=0.02) and values.std() == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(values) < 1) == pytest.approx(0.683, abs=0.01)


def test_blue_noise_has_hardly_any_low_frequencies():
    white, blue = (noise_channel(kind, 1, 64, 64, 0)[0, 0].numpy() for kind in KINDS)
    assert low_frequency_share(white) > 0.7 and low_frequency_share(blue) < 0.05


def test_white_noise_of_a_seed_is_that_of_earlier_versions():
    expected = 0.3 * torch.randn(1, 1, 8, 9, generator=torch.Generator().manual_seed(5))
    assert torch.equal(noise_channel("white", 1, 8, 9, 5), expected)
    torch.manual_seed(5)
    assert torch.equal(noise_channel("white", 1, 8, 9, None), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_one_plane_to_all_images_and_training_another_to_each(kind):
    seeded, other = (noise_channel(kind, 2, 32, 32, seed) for seed in (1, 2))
    assert torch.equal(seeded[0], seeded[1]) and not torch.equal(seeded, other)
    torch.manual_seed(0)
    drawn = noise_channel(kind, 2, 32, 32, None)
    assert not torch.equal(drawn[0], drawn[1])
    torch.manual_seed(0)
    assert torch.equal(noise_channel(kind, 2, 32, 32, None), drawn)


def test_blue_noise_is_anchored_to_image_coordinates():
    """A crop of an image that begins at its origin has a crop of its noise, which has period 64."""
    plane = noise_channel("blue", 1, 100, 150, 4)[0, 0]
    assert torch.equal(noise_channel("blue", 1, 40, 70, 4)[0, 0], plane[:40, :70])
    assert torch.equal(plane[:36, :86], plane[64:, 64:])


def test_a_checkpoint_contains_the_kind_of_noise():
    network = ResHalf(4, noise="blue")
    rebuilt = build_network({"state_dict": network.state_dict(), "arch": network.arch()})
    assert rebuilt.noise == "blue" and rebuilt.arch() == network.arch()
    photographs = torch.zeros(1, 3, 16, 24)
    assert torch.equal(rebuilt.condition(photographs, seed=2), noise_channel("blue", 1, 16, 24, 2))
    older = {key: value for key, value in ResHalf(4).arch().items() if key != "noise"}
    assert ResHalf.from_arch(older).noise == "white"
    with pytest.raises(ValueError, match="noise must be one of white, blue"):
        ResHalf(4, noise="pink")
