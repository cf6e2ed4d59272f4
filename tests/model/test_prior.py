"""The dither prior: halftone and demodulation, without training."""

import math

import cv2
import numpy as np
import pytest
import torch

from model.prior import HALFTONES, Prior, carriers
from model.reshalf import ResHalf


def colours(height=128, width=128):
    """A smooth image of soft colours, (H, W, 3) BGR uint8."""
    y, x = np.mgrid[0:height, 0:width] / 32
    planes = [128 + 40 * np.sin(x + phase) * np.cos(y - phase) for phase in (0.0, 1.0, 2.0)]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def to_tensor(bgr):
    return torch.from_numpy(bgr).permute(2, 0, 1)[None].float() / 127.5 - 1


@pytest.mark.parametrize("halftone", HALFTONES)
def test_colour_is_restored_without_training(halftone):
    # For a slowly varying image, wide filters suppress the dots without blurring the image.
    network = ResHalf(4, Prior(halftone=halftone, demodulator_luma_sigma=4, demodulator_chroma_sigma=6))
    bgr = colours()
    with torch.no_grad():
        encoded = network.encode(to_tensor(bgr))
        restored = network.decode(encoded.halftone)
    assert set(encoded.halftone.unique().tolist()) == {-1.0, 1.0}
    # Correlation only: error diffusion amplifies the carriers by an unknown gain.
    chroma, expected = (x - x.mean(dim=1, keepdim=True) for x in (restored, to_tensor(bgr)))
    for channel in range(3):
        both = torch.stack((chroma[0, channel].flatten(), expected[0, channel].flatten()))
        assert torch.corrcoef(both)[0, 1] > 0.85


@pytest.mark.parametrize("halftone", HALFTONES)
def test_the_local_mean_of_the_halftone_is_the_luma(halftone):
    bgr = colours()
    local_mean = cv2.GaussianBlur(Prior(halftone=halftone).classical_halftone(bgr).astype(np.float64), (0, 0), 4)
    luma = cv2.GaussianBlur(bgr @ np.array([0.114, 0.587, 0.299]), (0, 0), 4)
    assert np.abs(local_mean - luma)[16:-16, 16:-16].mean() < 4


def test_pure_carriers_are_demodulated_exactly():
    prior = Prior(amplitude=2.0)
    plane = torch.full((1, 1, 40, 48), 0.2)
    red, blue = (carriers(40, 48)[:, channel : channel + 1] for channel in (0, 1))
    gray = prior.demodulate(plane)[..., 12:-12, 12:-12]
    torch.testing.assert_close(gray, torch.full_like(gray, 0.2), atol=2e-3, rtol=0)
    headroom = 0.8  # 1 - luma
    for carrier, channel, weight in ((red, 2, 0.713), (blue, 0, 0.564)):
        bgr = prior.demodulate(0.2 + headroom * math.tanh(2.0 * 0.3 / headroom) * carrier)[..., 12:-12, 12:-12]
        expected = torch.tensor(0.2 + 0.3 / weight)
        torch.testing.assert_close(bgr[:, channel].mean(), expected, atol=5e-3, rtol=0)


def test_the_gradient_of_the_demodulation_is_its_derivative():
    torch.manual_seed(0)
    dots = (1.6 * torch.rand(2, 1, 9, 11, dtype=torch.float64) - 0.8).requires_grad_()
    assert torch.autograd.gradcheck(Prior()._demodulate, dots, fast_mode=True)
    full = torch.ones(1, 1, 9, 11, dtype=torch.float64, requires_grad=True)  # both limits are active
    gradient = torch.autograd.grad(Prior()._demodulate(full * 1.01)[:, 1].sum(), full)[0]
    assert gradient.isfinite().all()


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 0, 255), (0, 80, 0), (0, 60, 120), (120, 200, 255)])
def test_the_hue_of_saturated_colours_is_preserved(colour):
    bgr = np.full((64, 64, 3), colour, np.uint8)
    prior = Prior(demodulator_luma_sigma=4, demodulator_chroma_sigma=6)
    halftone = torch.from_numpy(prior.classical_halftone(bgr)).float()[None, None] / 127.5 - 1
    restored = prior.demodulate(halftone)[0, :, 16:-16, 16:-16].mean(dim=(1, 2)).numpy()
    hue, expected = (colour - colour.mean() for colour in (restored, np.array(colour, float)))
    assert hue @ expected / np.linalg.norm(hue) / np.linalg.norm(expected) > 0.93


def test_gray_is_restored_as_gray_without_training():
    prior = Prior(demodulator_chroma_sigma=4)
    bgr = np.repeat(np.linspace(20, 235, 96).round().astype(np.uint8)[None, :, None], 96, 0).repeat(3, 2)
    halftone = torch.from_numpy(prior.classical_halftone(bgr)).float()[None, None] / 127.5 - 1
    restored = prior.demodulate(halftone)[0, :, 8:-8, 8:-8]
    chroma = (restored - restored.mean(dim=0)).abs().mean().item()
    assert chroma * 127.5 < 3


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (17, 5)])
@pytest.mark.parametrize("halftone", HALFTONES)
def test_any_size_is_halftoned_and_restored(halftone, height, width):
    network = ResHalf(4, Prior(halftone=halftone, correction=True))
    with torch.no_grad():
        output = network(to_tensor(colours(height, width)))
    assert output.halftone.shape == (1, 1, height, width)
    assert output.restored.shape == (1, 3, height, width)


def test_an_untrained_correction_is_zero():
    network = ResHalf(4, Prior(correction=True))
    bgr = colours(32, 32)
    classical = torch.from_numpy(network.prior_halftone(bgr))[None, None] > 127
    with torch.no_grad():
        assert torch.equal(network.encode(to_tensor(bgr)).halftone > 0, classical)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"halftone": "magic"}, "one of direct_binary_search"),
        ({"amplitude": 0}, "above 0"),
        ({"amplitud": 2.0}, "known are halftone"),
        ({"passes": 1.5}, "must be int"),
        ({"correction": 1}, "must be bool"),
        ({"guidance": -0.1}, "guidance must be 0, or above it"),
        ({"guidance": math.nan}, "guidance must be 0, or above it"),
        ({"pilot": -0.1}, "pilot must be 0 or more"),
        ({"demodulator": False}, "prior.demodulator must be true"),
        ({"guided_rounds": -1}, "guided_rounds must be 0 or more"),
        ({"proxy_width": 0}, "proxy_width must be 1 or more"),
        ({"guidance": 0.1, "halftone": "error_diffusion"}, "for direct_binary_search"),
    ],
)
def test_invalid_settings_are_named_in_one_line(values, words):
    with pytest.raises(ValueError, match="^[^\n]*$") as error:
        Prior.from_dict(values)
    assert words in str(error.value)


def test_the_demodulator_key_of_released_checkpoints_is_accepted_and_dropped():
    assert Prior.from_dict({"demodulator": True, "pilot": 0.001}) == Prior(pilot=0.001)
    assert "demodulator" not in Prior().as_dict()
