"""Decoding of TIFF files: tifffile reads the header and deep pixels, Pillow 8-bit pixels of any colours and codec."""

from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image as Pillow

from images.colour_space import profile_to_srgb
from images.pillow import check_size, from_pillow, open_image
from images.pixels import TURNED, Pixels, Refused, split, to_8bit, upright
from images.resolution import RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, tag_resolution
from images.transparency import off_background

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 274
_COLOURS = {0: "gray", 1: "gray", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr"}
_OPENCV_CODECS = (1, 5, 8, 32773, 32946)  # none, LZW, Deflate, PackBits; for others OpenCV may return other pixels


def decode_tiff(file: BinaryIO, max_pixels: int) -> Pixels:
    """Decode a TIFF of one image; thumbnails and masks beside it are ignored. Raises as `images.decode.decode`."""
    import tifffile  # slow to import, and only needed for TIFFs

    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        check_size(page.imagewidth, page.imagelength, max_pixels)
        count = sum(not (other.is_reduced or other.is_mask) for other in map(tiff.pages.get, range(len(tiff.pages))))
        if count > 1:
            raise Refused(f"{count} pages; one image per file is required")
        orientation = int(page.tags.valueof(_ORIENTATION, 1))
        resolution = tag_resolution(
            page.tags.valueof(X_RESOLUTION), page.tags.valueof(Y_RESOLUTION), page.tags.valueof(RESOLUTION_UNIT, 2)
        )
        if page.bitspersample <= 8 and page.sampleformat == tifffile.SAMPLEFORMAT.UINT:
            pixels, turned = _shallow(file, page)
        else:
            pixels, turned = _deep(file, page)
    pixels = profile_to_srgb(pixels, page.iccprofile if page.photometric in (0, 1, 2, 3, 6) else None)
    if turned:
        return pixels._replace(resolution=resolution[::-1] if resolution and orientation in TURNED else resolution)
    return upright(pixels._replace(resolution=resolution), orientation)


def _shallow(file: BinaryIO, page) -> tuple[Pixels, bool]:
    """Pixels of up to 8 bits, and whether they are upright already, as with Pillow."""
    file.seek(0)
    try:
        image = open_image(file, formats=["TIFF"])
    except (Pillow.UnidentifiedImageError, SyntaxError):
        if page.bitspersample == 8 and page.photometric in (0, 1, 2):
            return _deep(file, page)
        raise _unsupported(page) from None
    try:
        return from_pillow(image, page.iccprofile), True
    except OSError as error:
        if "not available" in str(error):
            raise _unsupported(page) from None
        raise


def _deep(file: BinaryIO, page) -> tuple[Pixels, bool]:
    """Pixels of 8 bits or more, and whether they are upright already."""
    if page.dtype is None or page.bitspersample != page.dtype.itemsize * 8:
        raise Refused(f"{page.bitspersample}-bit pixels; 8, 16, 32 or 64 are required")
    if page.photometric not in (0, 1, 2):
        raise Refused(f"{page.photometric.name} colours of {page.bitspersample} bits; gray or RGB is required")
    planar = page.planarconfig == 2
    turned = False
    try:
        array = page.asarray()
        if planar and array.ndim == 3:
            array = np.moveaxis(array, 0, 2)
        colour, alpha = split(to_8bit(array), bgr=False)
    except (ValueError, ImportError) as error:
        # tifffile needs another package for some codecs; OpenCV supports these, for interleaved pixels.
        if isinstance(error, ValueError) and "imagecodecs" not in str(error):
            raise
        array = None
        if page.compression in _OPENCV_CODECS and (not planar or page.samplesperpixel == 1):
            file.seek(0)
            array = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
        if array is None:
            raise _unsupported(page) from None
        (colour, alpha), turned = split(to_8bit(array), bgr=True), True
    if page.photometric == 0:  # white is zero
        colour = 255 - colour
    if alpha is not None and page.extrasamples[:1] == (1,):  # colours that are multiplied by alpha
        colour = cv2.cvtColor(colour, cv2.COLOR_GRAY2BGR) if colour.ndim == 2 else colour
        colour = off_background(colour, alpha, (0, 0, 0))
    return Pixels(colour, alpha), turned


def _unsupported(page) -> Refused:
    layout = "planar " if page.planarconfig == 2 and page.samplesperpixel > 1 else ""
    colours = _COLOURS.get(page.photometric) or getattr(page.photometric, "name", page.photometric)
    kind = f"{layout}{page.bitspersample}-bit {colours} pixels"
    compression = getattr(page.compression, "name", page.compression)
    return Refused(f"{kind} with {compression} compression in a TIFF are not supported")
