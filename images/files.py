"""Reading and writing of photographs and halftones.

Input formats: JPEG, PNG, WebP, BMP, TIFF and GIF. EXIF orientation is undone. Gray becomes three equal channels.
Palettes are resolved. 16-bit, 32-bit and float pixels are scaled by their type (float: 1.0 is white) to 8 bits. RGB and
CMYK ICC profiles are converted to sRGB, since a halftone has no profile; gray profiles are ignored. Alpha is returned
separately.
"""

import os
import stat
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from images.decode import Pixels, Refused, decode
from utils.errors import UserError
from utils.files import atomic_write

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"})
# Unsupported formats; they are listed, so that each is reported as skipped.
OTHER_SUFFIXES = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".jp2", ".psd", ".svg", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".exr", ".hdr"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"}
)
MAX_PIXELS = 250_000_000
# A pixel whose distance to both black and white is above this is gray; JPEG ringing stays below it.
GRAY_MARGIN = 32
MAX_GRAY_SHARE = 0.05


class Image(NamedTuple):
    """A photograph: `bgr` uint8 (H, W, 3), `alpha` uint8 (H, W) or None."""

    bgr: np.ndarray
    alpha: np.ndarray | None


def list_images(folder: str | Path, recursive: bool = False) -> list[Path]:
    """Return all files in `folder` with an image suffix (any case), sorted; with `recursive` also in its subfolders.

    Hidden files are left out. Some paths that are no images are listed, so that `read_image` reports why they are
    skipped: a folder named x.png and, with `recursive`, a folder without permission or a link to a parent folder. Other
    folders named x.png are searched with `recursive`.
    Raises UserError when `folder` is missing, not a folder or not readable.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    try:
        return sorted(_images_in(folder, recursive, (os.path.realpath(folder),)))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}") from error


def _images_in(folder: Path, recursive: bool, above: tuple[str, ...]) -> list[Path]:
    found = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if not (recursive and path.is_dir()):
            if path.suffix.lower() in IMAGE_SUFFIXES | OTHER_SUFFIXES:
                found.append(path)
            continue
        real = os.path.realpath(path)
        if real in above:
            found.append(path)
            continue
        try:
            found += _images_in(path, recursive, (*above, real))
        except PermissionError:
            found.append(path)
    return found


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a photograph in upright orientation, BGR, 8 bits per channel.

    Raises UserError with one line that names the file and the reason when it cannot be read, is not an image, is
    truncated or damaged, is animated or has several pages, or has more than `max_pixels` pixels (checked before
    decoding; OpenCV's own limit is 2^30).
    """
    pixels = _read(path, max_pixels)
    colour = pixels.colour
    return Image(cv2.cvtColor(colour, cv2.COLOR_GRAY2BGR) if colour.ndim == 2 else colour, pixels.alpha)


def read_levels(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read the levels of a halftone's file, on white: uint8 (H, W) or BGR (H, W, 3). Raises UserError as `read_image`.

    reshalf.repair makes a halftone of them.
    """
    colour, alpha = _read(path, max_pixels)
    if alpha is not None:  # composite on white
        colour = colour.copy()
        colour[alpha <= 127] = 255
    return colour


def read_halftone(path: str | Path, force: bool = False, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a halftone: uint8 {0, 255} (H, W), thresholded at 128.

    Raises UserError as `read_image` does, and, unless `force`, when more than 5 % of the pixels are neither black nor
    white.
    """
    colour = read_levels(path, max_pixels=max_pixels)
    darkest, brightest = (colour, colour) if colour.ndim == 2 else (colour.min(axis=2), colour.max(axis=2))
    if not force:
        gray = np.count_nonzero((brightest > GRAY_MARGIN) & (darkest < 255 - GRAY_MARGIN)) / darkest.size
        if gray > MAX_GRAY_SHARE:
            raise UserError(f"{path}: not a halftone: {gray:.0%} of the pixels are neither black nor white")
    gray_levels = colour if colour.ndim == 2 else cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    return np.where(gray_levels > 127, np.uint8(255), np.uint8(0))


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
            return decode(file, max_pixels)
    except Refused as refusal:
        suffix, reason = path.suffix.lower(), str(refusal)
        if suffix in OTHER_SUFFIXES:
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
    return f"truncated or damaged ({(str(error) or type(error).__name__).splitlines()[0]})"


def centre_crop(image: np.ndarray, side: int) -> np.ndarray:
    """View of the centre of (H, W) or (H, W, C); sides of at most `side`."""
    top, left = (max(length - side, 0) // 2 for length in image.shape[:2])
    return image[top : top + side, left : left + side]


def write_image(path: str | Path, bgr: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """Write `bgr` uint8 (H, W, 3), with `alpha` uint8 (H, W) as a fourth channel, in the format of the path's suffix.

    Gray images, uint8 (H, W), are written with one channel and take no alpha. The file is written atomically. Raises
    UserError when it cannot be written.
    """
    _check_pixels("bgr", bgr, (3,) if bgr.ndim == 3 or alpha is not None else ())
    if alpha is not None:
        _check_pixels("alpha", alpha, ())
        bgr = cv2.merge([bgr, alpha])
    # For restored photographs, run lengths are faster and 10 % smaller than the default strategy.
    png = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _encode(Path(path), bgr, png if str(path).lower().endswith(".png") else [])


def write_halftone(path: str | Path, halftone: np.ndarray) -> None:
    """Write `halftone` (H, W), bool or uint8 {0, 255}, as a PNG of one bit per pixel.

    The file is written atomically. Raises UserError when it cannot be written.
    """
    if halftone.dtype == bool:
        halftone = halftone.astype(np.uint8) * np.uint8(255)
    _check_pixels("halftone", halftone, ())
    if not ((halftone == 0) | (halftone == 255)).all():
        raise ValueError("halftone must hold 0 and 255 only")
    _encode(Path(path), halftone, [cv2.IMWRITE_PNG_BILEVEL, 1])


def _check_pixels(name: str, array: np.ndarray, channels: tuple[int, ...]) -> None:
    if array.dtype != np.uint8 or array.ndim != 2 + len(channels) or array.shape[2:] != channels or not array.size:
        raise ValueError(f"{name} must be uint8 {('H', 'W', *channels)}, not {array.dtype} {array.shape}")


def _encode(path: Path, array: np.ndarray, parameters: list[int]) -> None:
    # Encode in memory, since OpenCV's file writing does not detect a full disk.
    try:
        data = cv2.imencode(path.suffix, array, parameters)[1]
    except cv2.error as error:
        raise UserError(f"{path}: cannot be encoded: {error.err}") from error
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
