"""Overview sheet: inputs and outputs of several photographs in one image."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from images.files import centre_crop, write_image

GAP, CELL = 8, 384


def write_overview(path: str | Path, rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Write a PNG with one row for each sequence of images, (H, W, 3) BGR uint8, placed side by side.

    Raises UserError when it cannot be written.
    """
    strips = [_strip(row) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    strips = [np.pad(strip, ((0, GAP), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips]
    write_image(path, np.concatenate(strips)[:-GAP])


def middle(image: np.ndarray, side: int = CELL) -> np.ndarray:
    """Return a copy of the centre of (H, W) or (H, W, 3) uint8, not resampled: (h, w, 3), sides of at most `side`."""
    cell = centre_crop(image, side)
    return cv2.cvtColor(cell, cv2.COLOR_GRAY2BGR) if cell.ndim == 2 else cell.copy()


def _strip(cells: Sequence[np.ndarray]) -> np.ndarray:
    height, width = (max(cell.shape[axis] for cell in cells) for axis in (0, 1))
    padded = [
        np.pad(cell, ((0, height - cell.shape[0]), (0, width - cell.shape[1] + GAP), (0, 0)), constant_values=255)
        for cell in cells
    ]
    return np.concatenate(padded, axis=1)[:, :-GAP]
