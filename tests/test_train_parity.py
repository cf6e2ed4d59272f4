"""The total loss of one step with the original configs, against a sum computed here from the networks' outputs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from scipy.signal import convolve2d

from model.reshalf import InverseHalf, ResHalf
from reshalf.config import JointConfig, WarmConfig
from reshalf.stages import joint_objective, warm_objective
from training.config import load_config

SCRIPTS = Path(__file__).parents[1] / "scripts"


class FakeVgg(torch.nn.Module):
    """Replaces VGG19, which tests/model/test_loss.py compares."""

    def forward(self, restored, colour):
        return (restored - colour).abs().mean()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)

    def draw(channels):
        return torch.rand(2, channels, 64, 64, generator=generator) * 2 - 1

    flat = (torch.rand(2, 3, 1, 1, generator=generator) * 2 - 1).expand(2, 3, 64, 64).contiguous()
    return {
        "colour": draw(3),
        "reference": draw(1).sign(),
        "special_colour": flat,
        "special_reference": draw(1).sign(),
    }


def gray(colour):
    b, g, r = colour.double().numpy().transpose(1, 0, 2, 3)
    return 0.114 * b + 0.587 * g + 0.299 * r


def tone(continuous, target):
    offsets = np.arange(11) - 5
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 2.0**2))
    kernel /= kernel.sum()
    pairs = zip(continuous, target, strict=True)
    return np.mean([(convolve2d(x, kernel, "valid") - convolve2d(t, kernel, "valid")) ** 2 for x, t in pairs])


def blue_noise(continuous, target):
    count = round(50 / 256 * 64)
    spectra = [dctn(x / 2 + 0.5, axes=(1, 2), norm="ortho")[:, :count, :count] for x in (continuous, target)]
    return np.abs(spectra[0] - spectra[1]).mean()


def quantize(continuous):
    return np.abs(np.abs(continuous) - 1).mean()


def halves_of(objective, batch):
    """The objective's terms, and the continuous halftones of the same photographs and special colours."""
    torch.manual_seed(3)
    terms = objective(objective.draw(batch))
    torch.manual_seed(3)
    encoded = objective.network.encode(torch.cat((batch["colour"], batch["special_colour"])), seed=None)
    photos, specials = encoded.continuous.detach().chunk(2)
    return terms, encoded.halftone[:2], photos, specials


def plane(tensor):
    return tensor.detach()[:, 0].double().numpy()


def network():
    torch.manual_seed(1)
    return ResHalf(4)


def test_the_joint_total_is_the_released_sum(batch):
    config = load_config(JointConfig, SCRIPTS / "invhalf_full.json", ["width=4"])
    objective = joint_objective(config, network(), FakeVgg())
    terms, halftone, photos, specials = halves_of(objective, batch)
    restored = objective.network.decode(halftone).detach().double()
    colour = batch["colour"].double()
    expected = (
        0.6 * tone(plane(photos), gray(batch["colour"]))
        + 0.3 * tone(plane(specials), gray(batch["special_colour"]))
        + 0.1 * (0.5 * quantize(plane(photos)) + 0.5 * quantize(plane(specials)))
        + 0.3 * blue_noise(plane(specials), gray(batch["special_colour"]))
        + 1.0 * float((restored - colour).square().mean())
        + 0.0002 * float((restored - colour).abs().mean())
    )
    assert terms["total"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("guidance", ["reference", "gray"])
def test_the_warm_up_total_is_the_released_sum(batch, guidance):
    config = load_config(WarmConfig, SCRIPTS / "invhalf_warm.json", ["width=4", f"guidance={guidance}"])
    objective = warm_objective(config, network(), InverseHalf(4))
    terms, _, photos, specials = halves_of(objective, batch)
    seen = plane(objective.extractor(photos))
    target = plane(objective.extractor(batch["reference"])) if guidance == "reference" else gray(batch["colour"])
    expected = (
        0.6 * tone(plane(photos), gray(batch["colour"]))
        + 0.3 * tone(plane(specials), gray(batch["special_colour"]))
        + 0.2 * (0.5 * quantize(plane(photos)) + 0.5 * quantize(plane(specials)))
        + 0.3 * blue_noise(plane(specials), gray(batch["special_colour"]))
        + 1.0 * np.mean((seen - target) ** 2)
    )
    assert terms["total"].item() == pytest.approx(expected, rel=1e-5)


def test_only_the_encoder_learns_in_the_warm_up(batch):
    config = load_config(WarmConfig, SCRIPTS / "invhalf_warm.json", ["width=4"])
    objective = warm_objective(config, network(), InverseHalf(4))
    objective(objective.draw(batch))["total"].backward()
    assert all(parameter.grad is not None for parameter in objective.network.encoder.parameters())
    others = (objective.network.decoder, objective.extractor)
    assert all(parameter.grad is None for module in others for parameter in module.parameters())
