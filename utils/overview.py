"""One picture that shows what happened to several photographs."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from utils.files import atomic_write

GAP = 8


def write_overview(path: str | Path, rows: Sequence[Sequence[np.ndarray]], cell: int = 384) -> None:
    """Write a PNG with a row for each sequence of pictures, (H, W) or (H, W, 3) BGR uint8, side by side.

    Each cell shows the middle of its picture, at most `cell` pixels a side, pixel for pixel: dots stay dots.
    """
    strips = [_strip([_middle(picture, cell) for picture in row]) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    strips = [np.pad(strip, ((0, GAP), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips]
    with atomic_write(path) as temporary:
        if not cv2.imwrite(str(temporary), np.concatenate(strips)[:-GAP]):
            raise OSError(f"{path}: cannot write the overview")


def _middle(picture: np.ndarray, cell: int) -> np.ndarray:
    if picture.ndim == 2:
        picture = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    top, left = (max(side - cell, 0) // 2 for side in picture.shape[:2])
    return picture[top : top + cell, left : left + cell]


def _strip(cells: list[np.ndarray]) -> np.ndarray:
    height, width = (max(cell.shape[axis] for cell in cells) for axis in (0, 1))
    padded = [
        np.pad(
            cell,
            ((0, height - cell.shape[0]), (0, width - cell.shape[1] + GAP), (0, 0)),
            constant_values=255,
        )
        for cell in cells
    ]
    return np.concatenate(padded, axis=1)[:, :-GAP]
