"""Weights that others trained."""

from pathlib import Path

import torch
from torch import Tensor

from utils.checkpoint import read_checkpoint
from utils.errors import UserError

VGG19_URL = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"


def vgg19_weights(path: str | Path | None) -> dict[str, Tensor]:
    """State dict of torchvision's vgg19 (ImageNet): a local file, or torchvision's own download cache when None.

    Raises UserError that says what to fetch and where to put it.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints" / VGG19_URL.rsplit("/", 1)[1]
    remedy = (
        f"fetch {VGG19_URL} and name it with --set vgg_weights=FILE (or put it at {cache}), or go on without the "
        "perceptual term with --set vggLossWeight=0"
    )
    try:
        if path is not None:
            return read_checkpoint(path)["state_dict"]
        return torch.hub.load_state_dict_from_url(VGG19_URL, check_hash=True, weights_only=True, map_location="cpu")
    except UserError as error:
        raise UserError(f"vgg_weights: {error}; {remedy}") from None
    except (OSError, RuntimeError) as error:  # no network; another file's checksum
        raise UserError(f"vggLossWeight: VGG19 weights cannot be had ({error}); {remedy}") from None
