"""Pretrained weights of the perceptual terms."""

from urllib.error import URLError

import pytest
import torch

from training.pretrained import vgg_weights


def test_without_a_connection_the_error_has_the_url_of_the_vgg_weights_and_the_alternative(monkeypatch):
    def offline(*arguments, **keywords):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(Exception, match="no route to host.*fetch https.*vgg_weights=FILE.*vggLossWeight=0"):
        vgg_weights("vgg19", None)
