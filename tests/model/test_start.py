"""The targets of the start: dithers of the right mean that carry colour."""

import math

import pytest
import torch

from model.loss import gray
from model.noise import KINDS, NOISE, noise_channel
from model.start import PAIRS, orientation, readable_amplitude, start_target

SIDE = 128


def constant(*colours):
    """Constant images of BGR colours in [-1, 1]."""
    return torch.tensor(colours).view(-1, 3, 1, 1).expand(-1, -1, SIDE, SIDE)


def noise(kind, count):
    torch.manual_seed(0)
    return noise_channel(kind, count, SIDE, SIDE, None)


COLOURS = constant(
    (0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (-0.8, -0.8, -0.8), (0.8, 0.0, -0.5), (-0.5, 0.0, 0.8), (-0.7, 0.6, 0.2)
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("target", ["random", "orientation"])
def test_the_target_keeps_the_mean_tone_of_every_colour(kind, target):
    dots = start_target(target, kind, COLOURS, noise(kind, len(COLOURS)))
    assert set(dots.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(dots.mean((1, 2, 3)), gray(COLOURS).mean((1, 2, 3)), rtol=0, atol=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_the_oriented_threshold_is_uniform_whatever_the_colour(kind):
    filtered = orientation(kind, COLOURS, noise(kind, len(COLOURS)) / NOISE)
    threshold = torch.erf(filtered / math.sqrt(2))
    for one in threshold:
        shares = torch.histc(one, 8, -1, 1) / one.numel()
        assert ((shares - 1 / 8).abs() < 0.03).all()  # one period of the mask deviates more than white noise


def correlations(dots):
    """Mean products of neighbours along each of the PAIRS, a list over images."""
    return [(dots * torch.roll(dots, offset, (2, 3))).mean((1, 2, 3)).tolist() for offset in PAIRS]


MAGENTA, GREEN, ORANGE, BLUE = (0.3, -0.3, 0.3), (-0.3, 0.3, -0.3), (-0.5, 0.1, 0.5), (0.5, -0.1, -0.5)
"""BGR."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_correlation_of_neighbours_follows_the_opponent_colours(kind):
    """Magenta lowers the correlation E-W and raises it N-S, orange does so with the diagonals; opposites reverse it."""
    colours = constant(MAGENTA, GREEN, ORANGE, BLUE)
    colours = colours - gray(colours)  # of mid gray luma, so that only the noise decides
    east, south, falling, rising = correlations(start_target("orientation", kind, colours, noise(kind, 4)))
    assert east[0] < east[1] - 0.1 and south[0] > south[1] + 0.1
    assert falling[2] < falling[3] - 0.1 and rising[2] > rising[3] + 0.1


def test_a_readable_dither_carries_colour_at_least_as_strongly_as_the_start():
    colours = constant(*[ORANGE, BLUE] * 8)
    colours = colours - gray(colours)
    torch.manual_seed(0)
    readable = readable_amplitude(len(colours), colours.device)
    dots, weakest = (
        start_target("orientation", "blue", colours, noise("blue", 16), amplitude) for amplitude in (readable, None)
    )
    contrast = [
        [abs(a - b) for a, b in zip(each[::2], each[1::2], strict=True)] for each in map(diagonal, (dots, weakest))
    ]
    assert sum(contrast[0]) > 1.1 * sum(contrast[1])
    assert set(dots.unique().tolist()) == {-1.0, 1.0}


def diagonal(dots):
    return correlations(dots)[2]


def test_the_random_target_is_a_threshold_dither_by_the_noise_channel():
    channel = noise("blue", 1)
    dots = start_target("random", "blue", constant((0.0, 0.0, 0.0)), channel)
    assert torch.equal(dots > 0, channel > 0)
