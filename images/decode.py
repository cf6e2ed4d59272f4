"""Decoding of image files to 8-bit pixels in sRGB, with one-line errors for invalid files."""

import io
import logging
import struct
import warnings
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image as Pillow

from images import pnm
from images.colour_space import Encoding, encoding_to_srgb, exif_encoding, profile_to_srgb, unconverted
from images.pillow import check_size, from_pillow, open_image
from images.pixels import Pixels, Refused, Unrecognized, split, to_8bit, upright
from images.png import SIGNATURE as PNG_SIGNATURE
from images.png import PngFile
from images.resolution import header_resolution
from images.tiff import SIGNATURES as TIFF_SIGNATURES
from images.tiff import decode_tiff

# Silence the decoders' own messages; a damaged file is reported in one error line instead.
warnings.filterwarnings("ignore", module="PIL")
(cv2.setLogLevel if hasattr(cv2, "setLogLevel") else cv2.utils.logging.setLogLevel)(0)  # OpenCV 4, or 5
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "PPM", "AVIF", "JPEG2000", "QOI", "SGI", "SUN")
"""Formats that Pillow recognizes by their content. AVIF and JPEG 2000 are missing in some builds."""
FORMATS_BY_ENDING = {".tga": "TGA", ".pcx": "PCX"}
"""Formats without a reliable signature."""
_OTHER_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8")
_WITH_OPENCV = ("JPEG", "MPO", "PNG", "WEBP")  # the same pixels as with Pillow, in half the memory
_ORIENTATION = 274
_JPEG_KINDS = {  # markers SOF3 to SOF15 of ITU-T T.81, and of JPEG-LS
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical JPEG"),
    0xF7: "JPEG-LS",
}


def decode(file: BinaryIO, max_pixels: int, suffix: str = "") -> Pixels:
    """Decode the image in `file`; `suffix` is consulted for formats without a signature only.

    Raises Refused, and for a damaged file any exception of the decoders.
    """
    signature = file.read(8)
    if not signature:
        raise Refused("the file is empty")
    file.seek(0)
    if signature[:4] in TIFF_SIGNATURES:
        return decode_tiff(file, max_pixels)
    if signature.startswith(pnm.SIGNATURES):
        data = file.read()
        (height, width, _), *_ = pnm.header(data)
        check_size(width, height, max_pixels)
        return Pixels(*pnm.decode(data))
    png = PngFile(file.read()) if signature == PNG_SIGNATURE else None
    file = io.BytesIO(png.data) if png else file
    header = _open_header(file, signature, suffix)
    check_size(*header.size, max_pixels)
    # An MPO file of a camera holds a photograph followed by previews, not an animation.
    if header.format != "MPO" and getattr(header, "n_frames", 1) > 1:
        raise Refused(f"an animation of {header.n_frames} frames; one image per file is required")
    exif, profile = _exif(header), header.info.get("icc_profile")
    mode, resolution = header.mode, header_resolution(header, exif)
    encoding = png.encoding() if png else None
    if not (png or profile):
        encoding = exif_encoding(exif)
    if header.format in _WITH_OPENCV and mode != "CMYK":
        pixels = _with_opencv(file, header, png, encoding)
    else:
        pixels = from_pillow(header, profile)
    if mode not in ("CMYK", "LAB") and not isinstance(encoding, Encoding):
        pixels = profile_to_srgb(pixels, profile)
    return upright(pixels._replace(resolution=resolution), exif.get(_ORIENTATION, 1) if exif else 1)


def _open_header(file: BinaryIO, signature: bytes, suffix: str) -> Pillow.Image:
    Pillow.init()
    wanted = (*FORMATS, FORMATS_BY_ENDING.get(suffix.lower()))
    try:
        return open_image(file, formats=[name for name in wanted if name in Pillow.OPEN])
    except Pillow.UnidentifiedImageError:
        file.seek(0)
        _check_jpeg(file.read())
        if signature.startswith(_OTHER_SIGNATURES):
            raise Refused("truncated or damaged (its header is not complete)") from None
        raise Unrecognized("not an image (JPEG, PNG, WebP, BMP, TIFF, GIF, PNM …)") from None


def _exif(header: Pillow.Image) -> Pillow.Exif | None:
    # Otherwise Pillow decodes the whole PNG to search for an EXIF block.
    if header.format == "PNG" and "exif" not in header.info:
        return None
    try:
        return header.getexif()
    except Exception:  # ignore a damaged EXIF block; the image may be intact
        return None


def _with_opencv(file: BinaryIO, header: Pillow.Image, png: PngFile | None, encoding: Encoding | str | None) -> Pixels:
    file.seek(0)
    data = file.read()
    _check_jpeg(data)
    # OpenCV fills the missing part of a truncated JPEG with gray. Coded data cannot contain the end marker, so a file
    # that ends with it is complete; Pillow checks the others, since some cameras append their own data.
    if header.format in ("JPEG", "MPO") and not data.endswith(b"\xff\xd9"):
        open_image(io.BytesIO(data)).load()
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        open_image(io.BytesIO(data)).load()  # raises with the reason
        raise Refused("damaged, or of an unsupported kind")
    colour, alpha = split(array, bgr=True)
    if alpha is not None:
        alpha = to_8bit(alpha)
    elif png:
        alpha = png.alpha(colour)
    if isinstance(encoding, Encoding) and not encoding.is_srgb():
        return Pixels(encoding_to_srgb(colour, encoding), alpha)
    pixels = Pixels(to_8bit(colour), alpha)
    return unconverted(pixels, encoding) if isinstance(encoding, str) else pixels


def _check_jpeg(data: bytes) -> None:
    """Raise Refused if a JPEG has a precision or coding process, by its frame header, that is not supported."""
    at = 2 if data.startswith(b"\xff\xd8") else len(data)
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = struct.unpack(">xBH", data[at : at + 4])
        if marker in _JPEG_KINDS:
            raise Refused(f"{_JPEG_KINDS[marker]} is not supported")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if data[at + 4] != 8:
                raise Refused(f"JPEG of {data[at + 4]} bits is not supported; 8 bits are required")
            return
        at += 2 + length
