"""Pretrained VGG weights for the perceptual terms."""

from pathlib import Path

import torch
from torch import Tensor

from utils.checkpoint import read_checkpoint
from utils.errors import UserError

VGG_URLS = {
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
    "vgg16_bn": "https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
    "vgg19_bn": "https://download.pytorch.org/models/vgg19_bn-c79401a0.pth",
}


def vgg_weights(name: str, path: str | Path | None, weight: str = "vggLossWeight") -> dict[str, Tensor]:
    """State dict of torchvision's `name`, trained on ImageNet.

    path    local file; None: torchvision's download, cached by torch.hub
    weight  config key of the term's weight, for the error message

    Raises UserError with the URL and the place for the file.
    """
    url = VGG_URLS[name]
    cache = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    remedy = (
        f"fetch {url} and set --set vgg_weights=FILE (or store it as {cache}), or train without the "
        f"perceptual term with --set {weight}=0"
    )
    try:
        if path is not None:
            return read_checkpoint(path)["state_dict"]
        return torch.hub.load_state_dict_from_url(url, check_hash=True, weights_only=True, map_location="cpu")
    except UserError as error:
        raise UserError(f"vgg_weights: {error}; {remedy}") from None
    except (OSError, RuntimeError) as error:  # no network, or a wrong checksum
        raise UserError(f"{weight}: {name} weights cannot be downloaded ({error}); {remedy}") from None
