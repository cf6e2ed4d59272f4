"""Metrics and previews of validation images during a training."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from dataset.photo_set import PhotoSet
from dataset.prefetch import prefetch
from halftone.threads import available_cores
from metrics import spectra
from metrics.quality import psnr, ssim, tone_psnr
from training.devices import gather
from training.protocols import Objective, Stream
from utils.pixels import to_uint8

Images = dict[str, np.ndarray]
SHOWN = 8
"""Validation images of a process that are written to train_cache/ and TensorBoard."""
MAX_PSNR = 100.0
"""dB, upper limit of a PSNR: two equal images have infinite PSNR, and means must stay finite."""

FLAT_GRAYS, FLAT_SIDE, PATCH = (32, 64, 128), 256, 64
"""8-bit levels of the constant images whose halftone spectra are plotted; their side and that of a patch, pixels."""


def flat_grays() -> PhotoSet:
    """The constant gray images; their references are black."""
    levels = np.array(FLAT_GRAYS, np.uint8)[:, None, None, None]
    colour = np.broadcast_to(levels, (len(levels), 3, FLAT_SIDE, FLAT_SIDE))
    return PhotoSet.from_arrays(np.ascontiguousarray(colour), np.zeros_like(colour[:, :1]))


def measure(
    objective: Objective, stream: Stream, fabric: Fabric, stop_requested: Callable[[], bool]
) -> tuple[dict[str, float], list[Images]] | None:
    """Means of `image_metrics` over the images of all processes, and the first SHOWN images of this process.

    Returns None as soon as `stop_requested` returns true.
    """
    shown = []

    def jobs() -> Iterator[Callable[[], dict[str, float]]]:
        for batch in stream.batches(0, 0, fabric.device):
            for images in to_images(objective.predict(batch)):
                if stop_requested():
                    return
                if len(shown) < SHOWN:
                    shown.append(images)
                yield partial(image_metrics, images)

    # The metrics take longer than the predictions of a GPU, which would otherwise wait for them.
    with closing(prefetch(jobs(), available_cores())) as found:
        measured = list(found)
    if stop_requested():
        return None
    measured = [metrics for part in gather(fabric, measured) for metrics in part]
    return {name: sum(each[name] for each in measured) / len(measured) for name in measured[0]}, shown


def plot_spectrum(path: Path, objective: Objective, flat: Stream, device: torch.device) -> None:
    """Plot the power spectra of the halftones of `flat`, a stream of `flat_grays`, into the image file `path`."""
    predicted = [objective.predict(batch) for batch in flat.batches(0, 0, device)]
    halftones = [images["halftone"] for batch in predicted for images in to_images(batch)]
    panels = {}
    for gray, halftone in zip(FLAT_GRAYS, halftones, strict=True):
        spectrum = spectra.measure(spectra.cut_patches(halftone, PATCH), gray / 255)
        panels[f"gray {gray}/255"] = {"network": spectrum}
    spectra.plot(path, panels)


def to_images(predicted: dict[str, Tensor]) -> list[Images]:
    """An objective's predictions, (N, C, H, W) in [-1, 1] → for each image uint8 arrays, as image files contain them.

    "halftone" is (H, W); "restored" and "target" are (H, W) or (H, W, 3) BGR.
    """
    count = len(next(iter(predicted.values())))
    moved = {name: value.float().cpu() for name, value in predicted.items()}
    return [{name: to_uint8(value[i]) for name, value in moved.items()} for i in range(count)]


def image_metrics(images: Images) -> dict[str, float]:
    """restored_psnr (dB) and restored_ssim of "restored", tone_psnr (dB, Gaussian σ 1.5 pixels) of "halftone"."""
    target, metrics = images["target"], {}
    if "restored" in images:
        metrics["restored_psnr"] = min(MAX_PSNR, psnr(target, images["restored"]))
        metrics["restored_ssim"] = ssim(target, images["restored"])
    if "halftone" in images:
        metrics["tone_psnr"] = min(MAX_PSNR, tone_psnr(images["halftone"], target))
    return metrics


def side_by_side(images: Images) -> np.ndarray:
    """Photograph, halftone or scan, and restoration next to each other, (H, n·W, 3) BGR uint8."""
    parts = [images[name] for name in ("target", "halftone", "scan", "restored") if name in images]
    return np.concatenate([three_channels(part) for part in parts], axis=1)


def three_channels(image: np.ndarray) -> np.ndarray:
    """(H, W) → (H, W, 3) with equal channels; (H, W, 3) unchanged."""
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
