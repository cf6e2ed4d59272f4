"""Reading and writing of photographs and halftones.

Input formats: JPEG, PNG, WebP, BMP, TIFF, GIF, the PNM family, and the others of images/decode.py, recognized by
content. EXIF orientation is undone. Gray becomes three equal channels. Palettes are resolved. 16-bit, 32-bit and float
pixels are scaled by their type (float: 1.0 is white) to 8 bits. Declared colours (ICC profiles; cICP, gAMA and cHRM of
PNG) are converted to sRGB, since a halftone has no profile. Alpha and resolution are returned separately; other
metadata is not.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from images.decode import decode
from images.encode import encode_halftone, encode_image, encode_indexed
from images.listing import OTHER_SUFFIXES
from images.pixels import Pixels, Refused, Unrecognized, black_and_white
from images.resolution import Resolution
from utils.checks import check_pixels
from utils.errors import UserError
from utils.files import atomic_write

MAX_PIXELS = 250_000_000
# A pixel whose distance to both black and white is above this is gray; JPEG ringing stays below it.
GRAY_MARGIN = 32
MAX_GRAY_SHARE = 0.05
# Parts of the decoders' messages about intact files.
_UNSUPPORTED = ("unsupported", "not supported", "not implemented", "not available")


class Image(NamedTuple):
    """A photograph.

    bgr         uint8 (H, W, 3)
    alpha       uint8 (H, W), or None
    resolution  pixels per inch along x and y, or None
    remarks     warnings, each to follow the file's name in a line
    """

    bgr: np.ndarray
    alpha: np.ndarray | None
    resolution: Resolution | None = None
    remarks: tuple[str, ...] = ()


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a photograph in upright orientation, BGR, 8 bits per channel.

    Raises UserError with one line that names the file and the reason when it cannot be read, is not an image, is
    truncated or damaged, is animated or has several pages, or has more than `max_pixels` pixels (checked before
    decoding; OpenCV's own limit is 2^30).
    """
    pixels = _read(path, max_pixels)
    colour = pixels.colour
    bgr = cv2.cvtColor(colour, cv2.COLOR_GRAY2BGR) if colour.ndim == 2 else colour
    return Image(bgr, pixels.alpha, pixels.resolution, pixels.remarks)


def read_halftone(path: str | Path, force: bool = False, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The levels of `read_levels`, thresholded at 128: uint8 {0, 255} (H, W).

    Raises UserError as `read_image` does, and, unless `force`, when more than 5 % of the pixels are neither black nor
    white.
    """
    colour = read_levels(path, max_pixels=max_pixels).colour
    darkest, brightest = (colour, colour) if colour.ndim == 2 else (colour.min(axis=2), colour.max(axis=2))
    if not force:
        gray = np.count_nonzero((brightest > GRAY_MARGIN) & (darkest < 255 - GRAY_MARGIN)) / darkest.size
        if gray > MAX_GRAY_SHARE:
            raise UserError(f"{path}: not a halftone: {gray:.0%} of the pixels are neither black nor white")
    gray_levels = colour if colour.ndim == 2 else cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    return black_and_white(gray_levels)


def read_levels(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read the levels of a halftone's file, white where it is transparent. Raises UserError as `read_image` does."""
    pixels = _read(path, max_pixels)
    if pixels.alpha is None:
        return pixels
    colour = pixels.colour.copy()
    colour[pixels.alpha <= 127] = 255
    return pixels._replace(colour=colour, alpha=None)


def _read(path: str | Path, max_pixels: int) -> Pixels:
    path = Path(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.listdir(path)  # raises PermissionError where it applies
            loop = path.parent.resolve().is_relative_to(path.resolve())
            raise Refused("a link back to a folder above it" if loop else "a folder, not an image")
        if not stat.S_ISREG(mode):
            raise Refused("not a regular file")
        with open(path, "rb") as file:
            return decode(file, max_pixels, path.suffix)
    except Refused as refusal:
        suffix, reason = path.suffix.lower(), str(refusal)
        if suffix in OTHER_SUFFIXES | {".avif", ".jp2"} and isinstance(refusal, Unrecognized):
            reason = f"{suffix[1:].upper()} files are not read: export it as JPEG, PNG or TIFF"
        raise UserError(f"{path}: {reason}") from None
    except MemoryError:
        raise UserError(f"{path}: not enough memory to read it") from None
    except OSError as error:
        if error.strerror:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        raise UserError(f"{path}: {_damaged(error)}") from error
    except Exception as error:  # decoders raise any kind of exception for damaged data
        raise UserError(f"{path}: {_damaged(error)}") from error


def _damaged(error: Exception) -> str:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    unsupported = any(word in reason.lower() for word in _UNSUPPORTED)
    return f"of a kind that is not supported ({reason})" if unsupported else f"truncated or damaged ({reason})"


def centre_crop(image: np.ndarray, side: int) -> np.ndarray:
    """View of the centre of (H, W) or (H, W, C); sides of at most `side`."""
    top, left = (max(length - side, 0) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def write_image(
    path: str | Path, bgr: np.ndarray, alpha: np.ndarray | None = None, resolution: Resolution | None = None
) -> None:
    """Write `bgr` uint8 (H, W, 3), with `alpha` uint8 (H, W) as a fourth channel, in the format of the path's suffix.

    Gray images, uint8 (H, W), are written with one channel and take no alpha. `resolution`, pixels per inch along x and
    y, is stored in PNG, BMP and TIFF. The file is written atomically. Raises UserError when it cannot be written.
    """
    check_pixels("bgr", bgr, 1 if getattr(bgr, "ndim", 3) == 2 and alpha is None else 3)
    if alpha is not None:
        check_pixels("alpha", alpha, 1)
        bgr = cv2.merge([bgr, alpha])
    _write(path, encode_image, bgr, resolution)


def write_halftone(path: str | Path, halftone: np.ndarray, resolution: Resolution | None = None) -> None:
    """Write `halftone` (H, W), bool or uint8 {0, 255}, with one bit per pixel, as the path's suffix says.

    The suffix is one of `images.encode.HALFTONE_SUFFIXES`: PNG, BMP, PBM, or TIFF in Group 4. `resolution` as for
    `write_image`. The file is written atomically. Raises UserError when it cannot be written.
    """
    if isinstance(halftone, np.ndarray) and halftone.dtype == bool:
        halftone = halftone.astype(np.uint8) * np.uint8(255)
    check_pixels("halftone", halftone, 1)
    if not ((halftone == 0) | (halftone == 255)).all():
        raise ValueError("halftone must hold 0 and 255 only")
    _write(path, encode_halftone, halftone, resolution)


def write_indexed(
    path: str | Path, indices: np.ndarray, palette: np.ndarray, resolution: Resolution | None = None
) -> None:
    """Write the pixels `indices` uint8 (H, W) of a `palette` uint8 (P, 3) BGR as an indexed PNG, BMP or TIFF.

    The order of the palette is kept. `resolution` as for `write_image`. The file is written atomically. Raises
    UserError when it cannot be written.
    """
    check_pixels("indices", indices, 1)
    _write(path, encode_indexed, indices, palette, resolution)


def _write(path: str | Path, encode: Callable[..., bytes], *content) -> None:
    # Encode in memory, since OpenCV's file writing does not detect a full disk.
    path = Path(path)
    try:
        data = encode(path.suffix, *content)
    except (cv2.error, ValueError) as error:
        raise UserError(f"{path}: cannot be encoded: {getattr(error, 'err', error)}") from error
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
