"""Loss functions. Photographs are (N, 3, H, W) BGR, halftones (N, 1, H, W), both in [-1, 1].

Every loss is a scalar, a mean over images and pixels. Source: Xia et al., ICCV 2021, section 3.3, with the constants of
the released training.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from model.dct import low_frequency_dct
from model.filters import gaussian_blur
from utils.colour import BT601_BGR, CB_SCALE, CR_SCALE, IMAGENET_MEAN, IMAGENET_STD

LOW_FREQUENCY_SHARE = 50 / 256
"""Share of the DCT's rows and columns that count as low frequencies: 50 at 256 pixels."""


def gray(colour: Tensor) -> Tensor:
    """ITU-R BT.601 luma: (N, 3, H, W) → (N, 1, H, W)."""
    blue, green, red = colour.split(1, dim=1)
    blue_weight, green_weight, red_weight = BT601_BGR
    return blue_weight * blue + green_weight * green + red_weight * red


def opponents(colour: Tensor) -> Tensor:
    """Orange against blue, (Cr - Cb) / √2, and magenta against green, √2 (Cr + Cb): (N, 3, H, W) → (N, 2, H, W).

    Cr and Cb as in ITU-R BT.601. In photographs they are the principal axes of chroma; the second, which has half the
    standard deviation, is doubled, so that a mean squared error does not neglect greens.
    """
    luma = gray(colour)
    cr, cb = CR_SCALE * (colour[:, 2:] - luma), CB_SCALE * (colour[:, :1] - luma)
    return torch.cat(((cr - cb) / math.sqrt(2), math.sqrt(2) * (cr + cb)), dim=1)


def tone_loss(halftone: Tensor, target: Tensor) -> Tensor:
    """MSE of halftone and gray target after an 11 × 11 Gaussian, σ 2, without padding (H, W ≥ 11)."""
    return gaussian_blur(halftone - target, 11, 2.0).square().mean()


def quantize_loss(continuous: Tensor) -> Tensor:
    """Mean distance of |x| from 1: a penalty on values of the continuous halftone other than -1 and 1."""
    return (continuous.abs() - 1).abs().mean()


def structure_loss(halftone: Tensor, target: Tensor) -> Tensor:
    """1 - SSIM of halftone and gray target, both mapped to [0, 1]: 11 × 11 Gaussian, σ 1.5, zero padding."""
    return 1 - ssim(halftone / 2 + 0.5, target / 2 + 0.5)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean structural similarity of two (N, C, H, W) in [0, 1] (Wang et al., TIP 2004; zero padding)."""
    c1, c2 = 0.01**2, 0.03**2
    mean_a, mean_b = _ssim_blur(a), _ssim_blur(b)
    variance_a = _ssim_blur(a * a) - mean_a**2
    variance_b = _ssim_blur(b * b) - mean_b**2
    covariance = _ssim_blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return (luminance * (2 * covariance + c2) / (variance_a + variance_b + c2)).mean()


def _ssim_blur(x: Tensor) -> Tensor:
    return gaussian_blur(x, 11, 1.5, border="zero")


def blue_noise_loss(halftone: Tensor, target: Tensor) -> Tensor:
    """L1 of low-frequency DCT coefficients of halftone and gray target, both mapped to [0, 1]; constant colours only.

    On a constant colour, blue noise has no low frequencies except the mean. LOW_FREQUENCY_SHARE of the longer side is
    the number of coefficients per side.
    """
    count = max(1, round(LOW_FREQUENCY_SHARE * max(halftone.shape[-2:])))
    # The DCT is linear: one transform of the difference; the offset of [0, 1] cancels.
    return low_frequency_dct((halftone - target) / 2, count).abs().mean()


def charbonnier_loss(restored: Tensor, colour: Tensor) -> Tensor:
    """Mean sqrt(difference² + 1e-6): L1, smooth at 0 (Charbonnier et al., ICIP 1994)."""
    return ((restored - colour).square() + 1e-6).sqrt().mean()


def psnr_loss(restored: Tensor, truth: Tensor) -> Tensor:
    """Mean over images of log(MSE + 1e-4), an affine function of the mean PSNR (as in Chen et al., ECCV 2022).

    The offset, 46 dB, limits the weight of images that are easy to restore, such as flat ones.
    """
    return torch.log((restored - truth).square().mean(dim=(1, 2, 3)) + 1e-4).mean()


RESTORE_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2_loss": mse_loss,
    "l1_loss": l1_loss,
    "charbonnier": charbonnier_loss,
    "psnr": psnr_loss,
}


class PerceptualLoss(nn.Module):
    """MSE between VGG19 features after the pool behind conv4_4 (torchvision's features[:28]), frozen.

    weights  state dict of torchvision's vgg19, of which "features.0" to "features.27" are used
    Inputs (N, 3, H, W) BGR in [-1, 1] are converted to RGB with ImageNet's normalization. Raises ValueError for weights
    that do not fit.
    """

    def __init__(self, weights: dict[str, Tensor]):
        super().__init__()
        from torchvision.models import vgg19  # imported here: only this loss needs torchvision

        self.features = vgg19(weights=None).features[:28]
        found = {key.removeprefix("features."): value for key, value in weights.items() if key.startswith("features.")}
        own = {key: found[key] for key in self.features.state_dict() if key in found}
        try:
            self.features.load_state_dict(own)
        except RuntimeError:
            raise ValueError("the weights are not those of torchvision's vgg19") from None
        self.features.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, restored: Tensor, colour: Tensor) -> Tensor:
        with torch.no_grad():
            target = self._features(colour)
        return mse_loss(self._features(restored), target)

    def _features(self, bgr: Tensor) -> Tensor:
        return self.features((bgr.flip(1) / 2 + 0.5 - self.mean) / self.deviation)
