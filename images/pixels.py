"""Decoded pixels of an image file, and their conversion to upright 8-bit images."""

from typing import NamedTuple

import cv2
import numpy as np

BAND_ROWS = 256
"""Rows that are converted at a time, to save memory."""
TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange rows and columns."""


class Refused(Exception):
    """A file is not accepted; the message is one line with the reason, without the file's name."""


class Unrecognized(Refused):
    """The content of a file is of none of the formats that are read."""


class Pixels(NamedTuple):
    """Pixels of a file.

    colour      (H, W) gray or (H, W, 3) BGR, uint8
    alpha       (H, W) uint8, or None
    resolution  pixels per inch along x and y, or None
    remarks     warnings for the user, each part of a line
    """

    colour: np.ndarray
    alpha: np.ndarray | None
    resolution: tuple[float, float] | None = None
    remarks: tuple[str, ...] = ()


def black_and_white(levels: np.ndarray) -> np.ndarray:
    """uint8 levels of any shape, thresholded at 128: uint8 {0, 255}."""
    return np.where(levels > 127, np.uint8(255), np.uint8(0))


def split(array: np.ndarray, bgr: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Gray or BGR, and alpha or None, from (H, W) or (H, W, 1..4) in either channel order; any dtype of OpenCV."""
    if array.ndim > 3:
        raise Refused(f"{array.ndim} dimensions; a single image is required")
    if array.ndim == 2 or array.shape[2] == 1:
        return array.reshape(array.shape[:2]), None
    if array.shape[2] == 2:
        return np.ascontiguousarray(array[..., 0]), np.ascontiguousarray(array[..., 1])
    if array.shape[2] == 3:
        return (array if bgr else cv2.cvtColor(array, cv2.COLOR_RGB2BGR)), None
    if array.shape[2] != 4:
        raise Refused(f"{array.shape[2]} channels; gray, RGB or RGBA is required")
    convert = cv2.COLOR_BGRA2BGR if bgr else cv2.COLOR_RGBA2BGR
    return cv2.cvtColor(array, convert), np.ascontiguousarray(array[..., 3])


def to_8bit(array: np.ndarray) -> np.ndarray:
    """Scale by type: the largest unsigned integer, or 1.0 for floats, becomes 255. Rounds to nearest."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "uf":
        raise Refused(f"{array.dtype} pixels; unsigned integers or floats are required")
    scale = 255.0 if array.dtype.kind == "f" else 255.0 / np.iinfo(array.dtype).max
    scaled = np.empty(array.shape, np.uint8)
    above = 0
    for top in range(0, len(array), BAND_ROWS):
        band = array[top : top + BAND_ROWS].astype(np.float64)
        if not np.isfinite(band).all():
            raise Refused("NaN or infinite pixels")
        above += np.count_nonzero(band * scale > 255.5)
        scaled[top : top + BAND_ROWS] = np.rint((band * scale).clip(0, 255))
    if above > array.size / 2:
        raise Refused("float pixels mostly above 1; white must be 1.0")
    return scaled


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the EXIF orientation 1..8 (TIFF 6.0, tag 274); a turn also exchanges the two resolutions."""

    def turn(array: np.ndarray) -> np.ndarray:
        if orientation in TURNED:
            array = cv2.transpose(array)
        flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # cv2.flip: 1 left-right, 0 top-bottom, -1 both
        return cv2.flip(array, flips[orientation]) if orientation in flips else array

    resolution = pixels.resolution
    return pixels._replace(
        colour=turn(pixels.colour),
        alpha=None if pixels.alpha is None else turn(pixels.alpha),
        resolution=resolution[::-1] if resolution and orientation in TURNED else resolution,
    )
