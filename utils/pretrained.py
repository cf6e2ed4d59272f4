"""Weights that others trained."""

from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

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
    if path is not None and not Path(path).is_file():
        raise UserError(f"vgg_weights: found {path}, no such file; {remedy}")
    try:
        if path is None:
            return torch.hub.load_state_dict_from_url(VGG19_URL, check_hash=True, weights_only=True, map_location="cpu")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (URLError, OSError) as error:
        raise UserError(f"vggLossWeight: VGG19 weights cannot be had ({error}); {remedy}") from None
    except Exception as error:  # bytes that are no weights make the unpickler raise almost anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"vgg_weights: {path or cache}: not VGG19 weights ({reason}); {remedy}") from None
