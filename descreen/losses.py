"""Loss terms of descreening training. Images are (N, 3, H, W) BGR in [-1, 1]; every term is a scalar."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import mse_loss

from descreen.objects import ImageNetInput

GRAM_PATCH = 14
"""Side of the Gram patches of the DetailsNet stage, in pixels of a feature map."""

# torchvision network → index of the layer after its last convolution.
_FEATURES = {"vgg16_bn": 41, "vgg19_bn": 50}


class GramLoss(nn.Module):
    """Texture loss on Gram matrices of all convolutions of a frozen VGG (Gatys et al. 2016; Sajjadi et al. 2017).

    Mean squared difference of the matrices F Fᵀ / (C h w), F the C × hw features of a sample, summed over the layers.

    network  "vgg16_bn" or "vgg19_bn"
    weights  torchvision's state dict of the network; ValueError when it does not fit
    patch    side of the patches with one matrix each, in feature pixels; None: one matrix per image
    """

    def __init__(self, network: str, weights: dict[str, Tensor], patch: int | None = None):
        super().__init__()
        from torchvision import models  # optional dependency of this term

        build = {"vgg16_bn": models.vgg16_bn, "vgg19_bn": models.vgg19_bn}[network]
        self.features = build(weights=None).features[: _FEATURES[network]]
        try:
            self.features.load_state_dict({key: weights[f"features.{key}"] for key in self.features.state_dict()})
        except (KeyError, RuntimeError):
            raise ValueError(f"the weights are not those of torchvision's {network}") from None
        self.features.requires_grad_(False).eval()
        self.patch, self.normalize = patch, ImageNetInput()

    def train(self, mode: bool = True) -> "GramLoss":
        return super().train(False)

    def forward(self, restored: Tensor, truth: Tensor) -> Tensor:
        with torch.no_grad():
            targets = self._grams(truth)
        grams = self._grams(restored)
        return sum(mse_loss(gram, target) for gram, target in zip(grams, targets, strict=True))

    def _grams(self, bgr: Tensor) -> list[Tensor]:
        x, grams = self.normalize(bgr), []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                grams.append(gram_matrices(x, self.patch))
        return grams


def gram_matrices(features: Tensor, patch: int | None = None) -> Tensor:
    """Gram matrices F Fᵀ / (C · pixels) of B patches: (N, C, h, w) → (N, B, C, C).

    B counts the whole patches of side `patch`; B = 1, the whole map, where `patch` is None or does not fit.
    """
    count, channels, height, width = features.shape
    if patch is None or patch > min(height, width):
        flat = features.flatten(2)[:, None]  # (N, 1, C, hw)
    else:
        cut = features[..., : height - height % patch, : width - width % patch]
        tiles = cut.unfold(2, patch, patch).unfold(3, patch, patch)  # (N, C, rows, columns, patch, patch)
        flat = tiles.permute(0, 2, 3, 1, 4, 5).reshape(count, -1, channels, patch * patch)
    return flat @ flat.transpose(2, 3) / (channels * flat.shape[3])


def generator_loss(discriminator: nn.Module, *fake: Tensor) -> Tensor:
    """½ (D(fake) − 1)², without gradients for the parameters of D (least-squares GAN, Mao et al., ICCV 2017, eq. 9)."""
    frozen = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    return 0.5 * (functional_call(discriminator, frozen, fake) - 1).square().mean()


def discriminator_loss(
    discriminator: Callable[..., Tensor], real: tuple[Tensor, ...], fake: tuple[Tensor, ...]
) -> Tensor:
    """½ (D(real) − 1)² + ½ D(fake)², with gradients for the parameters of D only."""
    on_real = discriminator(*(x.detach() for x in real))
    on_fake = discriminator(*(x.detach() for x in fake))
    return 0.5 * ((on_real - 1).square().mean() + on_fake.square().mean())
