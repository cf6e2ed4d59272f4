"""What a training run measures and shows of its validation pictures."""

from pathlib import Path

import numpy as np
from torch import Tensor

from utils import spectra
from utils.metrics import gray_of, psnr, ssim, tone_psnr
from utils.photo_set import PhotoSet
from utils.pixels import to_uint8

Pictures = dict[str, np.ndarray]
HIGHEST_PSNR = 100.0
"""dB; stands for the infinity of two equal pictures, so that means stay finite."""

FLAT_GRAYS, FLAT_SIDE, PATCH = (32, 64, 128), 256, 64
"""Constant photographs whose halftones show the spectrum, 8-bit levels; the part in patches of PATCH pixels."""


def flat_grays() -> PhotoSet:
    """The constant gray photographs; their references are blank."""
    levels = np.array(FLAT_GRAYS, np.uint8)[:, None, None, None]
    colour = np.broadcast_to(levels, (len(levels), 3, FLAT_SIDE, FLAT_SIDE))
    return PhotoSet.from_arrays(np.ascontiguousarray(colour), np.zeros_like(colour[:, :1]))


def plot_spectrum(path: Path, halftones: list[np.ndarray]) -> None:
    """Draw the spectra of the halftones (FLAT_SIDE, FLAT_SIDE) {0, 255} of `flat_grays`, in their order."""
    panels = {}
    for gray, halftone in zip(FLAT_GRAYS, halftones, strict=True):
        spectrum = spectra.measure(spectra.cut_patches(halftone, PATCH), gray / 255)
        panels[f"gray {gray}/255"] = {"network": spectrum}
    spectra.plot(path, panels)


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
    """(H, W·n, 3) BGR uint8: photograph, halftone or scan, restoration side by side."""
    parts = [pictures[name] for name in ("target", "halftone", "scan", "restored") if name in pictures]
    return np.concatenate([three_channels(part) for part in parts], axis=1)


def three_channels(picture: np.ndarray) -> np.ndarray:
    """(H, W) → (H, W, 3), three equal channels; (H, W, 3) as it is."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
