"""Opening and decoding of image files with Pillow."""

import io
from threading import Lock
from typing import BinaryIO

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms

from images.pixels import Pixels, Refused, split, to_8bit

_PILLOW_LIMIT = Lock()


def open_image(file: BinaryIO, **options) -> Pillow.Image:
    """Pillow's `open` without its process-wide limit of pixels; callers check `max_pixels` instead."""
    with _PILLOW_LIMIT:
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            return Pillow.open(file, **options)
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise Refused when an image has more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise Refused(f"{width} x {height} is {width * height / 1e6:.4g} megapixels, limit {max_pixels / 1e6:.4g}")


def from_pillow(image: Pillow.Image, profile: bytes | None) -> Pixels:
    """Decode an opened image. CMYK is converted to sRGB with `profile`; other profiles are left to the caller."""
    if image.mode == "CMYK" and profile or image.mode == "LAB":
        try:
            srgb = ImageCms.createProfile("sRGB")
            source = ImageCms.createProfile("LAB") if image.mode == "LAB" else io.BytesIO(profile)
            image = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
        except ImageCms.PyCMSError:
            image = image.convert("RGB")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):  # gray of 16 bits or floats
        array = np.asarray(image)
        return Pixels(to_8bit(array if array.dtype.kind == "f" else array.clip(0, 65535).astype(np.uint16)), None)
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGB")
    return Pixels(*split(np.asarray(image), bgr=False))
