"""What a training run measures and shows of its validation pictures."""

import numpy as np
from torch import Tensor

from utils.image_io import to_uint8
from utils.metrics import gray_of, psnr, ssim, tone_psnr

Pictures = dict[str, np.ndarray]
HIGHEST_PSNR = 100.0
"""dB; stands for the infinity of two equal pictures, so that means stay finite."""


def to_pictures(predicted: dict[str, Tensor]) -> list[Pictures]:
    """Tensors (N, C, H, W) in [-1, 1] of an objective's `predict` → per image uint8 arrays as files would hold them.

    "halftone" is (H, W); "restored" and "target" are (H, W) or (H, W, 3) BGR.
    """
    count = len(next(iter(predicted.values())))
    return [{name: to_uint8(value[i].float().cpu()) for name, value in predicted.items()} for i in range(count)]


def picture_metrics(pictures: Pictures) -> dict[str, float]:
    """restored_psnr (dB), restored_ssim and tone_psnr (dB, Gaussian σ 1.5), those that there are pictures for."""
    target, metrics = pictures["target"], {}
    if "restored" in pictures:
        metrics["restored_psnr"] = min(HIGHEST_PSNR, psnr(target, pictures["restored"]))
        metrics["restored_ssim"] = ssim(target, pictures["restored"])
    if "halftone" in pictures:
        gray = gray_of(target) if target.ndim == 3 else target
        metrics["tone_psnr"] = min(HIGHEST_PSNR, tone_psnr(pictures["halftone"], gray))
    return metrics


def strip(pictures: Pictures) -> np.ndarray:
    """(H, W·n, 3) BGR uint8: photograph, halftone, restoration side by side."""
    parts = [pictures[name] for name in ("target", "halftone", "restored") if name in pictures]
    return np.concatenate([three_channels(part) for part in parts], axis=1)


def three_channels(picture: np.ndarray) -> np.ndarray:
    """(H, W) → (H, W, 3), three equal channels; (H, W, 3) as it is."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
