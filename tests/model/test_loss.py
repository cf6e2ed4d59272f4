"""Every loss against values and gradients of the released training, and against closed forms."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torchvision.models import vgg19

from model import loss
from model.dct import low_frequency_dct
from model.filters import gaussian_blur, gaussian_taps

GOLDEN = {
    key: torch.from_numpy(value) for key, value in np.load(Path(__file__).parents[1] / "golden" / "losses.npz").items()
}


@pytest.mark.parametrize(
    ("name", "function", "argument", "target"),
    [
        ("gaussianL2", loss.tone_loss, "yInput", "yTarget"),
        ("gaussianL2_smooth", loss.tone_loss, "smoothInput", "smoothTarget"),
        ("binL1", lambda x, _: loss.quantize_loss(x), "yInput", "yTarget"),
        ("ssimLoss", loss.structure_loss, "yInput", "yTarget"),
        ("ssimLoss_smooth", loss.structure_loss, "smoothInput", "smoothTarget"),
        ("l1_loss", loss.RESTORE_LOSSES["l1_loss"], "other", "yTarget"),
        ("l2_loss", loss.RESTORE_LOSSES["l2_loss"], "other", "yTarget"),
    ],
)
def test_value_and_gradient_equal_the_released_training(name, function, argument, target):
    x = GOLDEN[argument].clone().requires_grad_()
    y = GOLDEN[target]
    value = function(x, loss.gray(y) if x.shape[1] == 1 else y)
    value.backward()
    torch.testing.assert_close(value.detach(), GOLDEN[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(x.grad, GOLDEN[name + "_grad"], rtol=1e-3, atol=1e-7)


def test_gray_and_gaussian_equal_the_released_training():
    torch.testing.assert_close(loss.gray(GOLDEN["yTarget"]), GOLDEN["bgr2gray"])
    line = torch.tensor(gaussian_taps(11, 2.0))
    torch.testing.assert_close(torch.outer(line, line)[None, None], GOLDEN["gaussian_kernel"], rtol=1e-5, atol=1e-8)


def test_low_frequencies_are_those_of_the_orthonormal_dct():
    low = low_frequency_dct(GOLDEN["dct_input"], 50)
    torch.testing.assert_close(low, GOLDEN["dct_low"], rtol=0, atol=1e-5)
    x = torch.rand(1, 1, 20, 12, dtype=torch.float64)
    expected = dctn(x.numpy(), axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(low_frequency_dct(x, 50).numpy(), expected, atol=1e-12)


def test_blue_noise_loss_depends_on_low_frequencies_only():
    gray = torch.zeros(1, 1, 64, 64)
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    checkerboard = (1.0 - 2 * ((x + y) % 2)).view(1, 1, 64, 64)
    slow = torch.cos(torch.pi * (2 * x + 1) * 3 / 128).view(1, 1, 64, 64)
    assert loss.blue_noise_loss(checkerboard, gray) < 0.05 * loss.blue_noise_loss(slow, gray)
    # cos(π (2 x + 1) 3 / 128) / 2 has one coefficient: ½ · √(64 · 64 / 2) of 13 × 13
    expected = 0.5 * np.sqrt(64 * 64 / 2) / (round(64 * 50 / 256) ** 2)
    assert loss.blue_noise_loss(slow, gray).item() == pytest.approx(expected, rel=1e-4)


def test_charbonnier_is_l1_away_from_zero():
    a, b = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    assert loss.charbonnier_loss(a, b).item() == pytest.approx(0.5, abs=1e-5)
    assert loss.charbonnier_loss(a, a).item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("border", ["zero", "renormalize", "valid"])
def test_blur_borders(border):
    ones = torch.ones(1, 2, 20, 30)
    blurred = gaussian_blur(ones, 11, 2.0, border)
    assert blurred.shape[-2:] == ((10, 20) if border == "valid" else (20, 30))
    if border == "zero":
        assert blurred[0, 0, 0, 0] < 0.5
    else:
        torch.testing.assert_close(blurred, torch.ones_like(blurred))


def test_perceptual_loss_uses_vgg19_up_to_the_pool_after_conv4_4():
    torch.manual_seed(0)
    reference = vgg19(weights=None).eval()
    term = loss.PerceptualLoss(reference.state_dict())
    a, b = torch.rand(2, 1, 3, 32, 32) * 2 - 1
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def features(bgr):
        rgb = (bgr[:, [2, 1, 0]] + 1) / 2
        return reference.features[:28]((rgb - mean.view(3, 1, 1)) / deviation.view(3, 1, 1))

    assert features(a).shape == (1, 512, 2, 2)
    expected = (features(a) - features(b)).square().mean()
    torch.testing.assert_close(term(a, b), expected)
    assert not any(parameter.requires_grad for parameter in term.parameters())


def test_wrong_vgg_weights_are_rejected():
    with pytest.raises(ValueError, match="not those of torchvision's vgg19"):
        loss.PerceptualLoss({"features.0.weight": torch.zeros(1)})


def test_the_psnr_loss_is_an_affine_function_of_the_mean_psnr():
    random = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 8, 8, generator=random)
    error = torch.tensor([0.5, 0.1]).view(2, 1, 1, 1)
    # 10 log10 of 4 / (1/4) and of 4 / (1/100), the range being 2.
    psnr = (10 * math.log10(16) + 10 * math.log10(400)) / 2
    assert 10 * math.log10(4) - 10 / math.log(10) * loss.psnr_loss(truth + error, truth) == pytest.approx(
        psnr, abs=0.05
    )
    assert loss.psnr_loss(truth, truth) == pytest.approx(math.log(1e-4))
