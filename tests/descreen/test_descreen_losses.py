"""Gram and adversarial loss terms."""

import pytest
import torch
from torch import nn
from torchvision import models

from descreen.losses import GramLoss, discriminator_loss, generator_loss, gram_matrices


@pytest.fixture(scope="module", params=["vgg16_bn", "vgg19_bn"])
def vgg(request):
    torch.manual_seed(0)
    features = getattr(models, request.param)(weights=None).features
    return request.param, {f"features.{key}": value for key, value in features.state_dict().items()}


def test_a_gram_matrix_is_the_mean_product_of_features_per_sample():
    features = torch.rand(2, 3, 4, 5)
    grams = gram_matrices(features)
    assert grams.shape == (2, 1, 3, 3)
    expected = (features[1, 0] * features[1, 2]).sum() / (3 * 20)
    torch.testing.assert_close(grams[1, 0, 0, 2], expected)


def test_each_patch_has_its_own_gram_matrix():
    features = torch.rand(1, 2, 9, 13)
    grams = gram_matrices(features, 4)
    assert grams.shape == (1, 6, 2, 2)
    torch.testing.assert_close(grams[0, 4], gram_matrices(features[..., 4:8, 4:8])[0, 0])
    assert torch.equal(gram_matrices(features, 14), gram_matrices(features))


def test_the_gram_loss_covers_every_convolution_and_freezes_vgg(vgg):
    name, weights = vgg
    loss = GramLoss(name, weights, patch=4).train()
    picture = torch.rand(1, 3, 32, 32, requires_grad=True)
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in loss.features)
    assert convolutions == {"vgg16_bn": 13, "vgg19_bn": 16}[name]
    assert len(loss._grams(picture)) == convolutions
    assert loss(picture, picture.detach()) == 0
    loss(picture, torch.rand(1, 3, 32, 32)).backward()
    assert picture.grad.abs().sum() > 0
    assert not any(part.training for part in loss.modules())
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_weights_of_another_network_are_an_error():
    with pytest.raises(ValueError, match="not those of torchvision's vgg16_bn"):
        GramLoss("vgg16_bn", {"features.0.weight": torch.zeros(1)})


def test_generator_and_discriminator_losses_have_separate_gradients():
    discriminator = nn.Conv2d(3, 1, 1)
    fake, real = torch.rand(1, 3, 4, 4, requires_grad=True), torch.rand(1, 3, 4, 4)
    value = generator_loss(discriminator, fake)
    torch.testing.assert_close(value, 0.5 * (discriminator(fake) - 1).square().mean())
    value.backward()
    assert fake.grad.abs().sum() > 0 and discriminator.weight.grad is None
    fake.grad = None
    value = discriminator_loss(discriminator, (real,), (fake,))
    torch.testing.assert_close(
        value, 0.5 * ((discriminator(real) - 1).square().mean() + discriminator(fake).square().mean())
    )
    value.backward()
    assert fake.grad is None and discriminator.weight.grad.abs().sum() > 0
