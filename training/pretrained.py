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
    """State dict of torchvision's `name` (ImageNet): a local file, or torchvision's own download cache when None.

    `weight` is the config's key for the term that needs it. Raises UserError that says what to fetch and where to put
    it.
    """
    url = VGG_URLS[name]
    cache = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    remedy = (
        f"fetch {url} and name it with --set vgg_weights=FILE (or put it at {cache}), or go on without the "
        f"perceptual term with --set {weight}=0"
    )
    try:
        if path is not None:
            return read_checkpoint(path)["state_dict"]
        return torch.hub.load_state_dict_from_url(url, check_hash=True, weights_only=True, map_location="cpu")
    except UserError as error:
        raise UserError(f"vgg_weights: {error}; {remedy}") from None
    except (OSError, RuntimeError) as error:  # no network; another file's checksum
        raise UserError(f"{weight}: {name} weights cannot be downloaded ({error}); {remedy}") from None
