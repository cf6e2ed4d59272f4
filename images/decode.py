"""Decoding of image files to 8-bit pixels, with one-line errors for invalid files."""

import io
import logging
import warnings
from threading import Lock
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms

# Silence the decoders' own messages; a damaged file is reported in one error line instead.
warnings.filterwarnings("ignore", module="PIL")
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF")
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHER_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8")
_ORIENTATION = 274
_PILLOW_LIMIT = Lock()
_BAND_ROWS = 256


class Refused(Exception):
    """A file is not accepted; the message is one line with the reason, without the file's name."""


class Pixels(NamedTuple):
    """Upright 8-bit pixels: `colour` (H, W) gray or (H, W, 3) BGR, `alpha` (H, W) or None; both uint8."""

    colour: np.ndarray
    alpha: np.ndarray | None


def decode(file: BinaryIO, max_pixels: int) -> Pixels:
    """Decode the image in `file`. Raises Refused, and for a damaged file any exception of the decoders."""
    signature = file.read(4)
    if not signature:
        raise Refused("the file is empty")
    file.seek(0)
    if signature in _TIFF_SIGNATURES:
        return _decode_tiff(file, max_pixels)
    try:
        header = _open(file, formats=FORMATS)
    except Pillow.UnidentifiedImageError:
        if signature.startswith(_OTHER_SIGNATURES):
            raise Refused("truncated or damaged (its header is not complete)") from None
        raise Refused("not an image (JPEG, PNG, WebP, BMP, TIFF or GIF)") from None
    _check_size(*header.size, max_pixels)
    # An MPO file of a camera holds a photograph followed by previews, not an animation.
    if header.format != "MPO" and getattr(header, "n_frames", 1) > 1:
        raise Refused(f"an animation of {header.n_frames} frames; one image per file is required")
    orientation, profile = _orientation(header), header.info.get("icc_profile")
    gray_key = header.mode == "L" and "transparency" in header.info
    if header.format in ("JPEG", "MPO", "PNG", "WEBP") and header.mode != "CMYK" and not gray_key:
        pixels = _decode_common(file, header)
    else:
        pixels = _from_pillow(header, profile)
    return _upright(_to_srgb(pixels, profile), orientation)


def _open(file: BinaryIO, **options) -> Pillow.Image:
    """Pillow's `open` without its process-wide limit of pixels; `decode` checks `max_pixels` instead."""
    with _PILLOW_LIMIT:
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            return Pillow.open(file, **options)
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Refused(f"{width} x {height} is {width * height / 1e6:.4g} megapixels, limit {max_pixels / 1e6:.4g}")


def _orientation(header: Pillow.Image) -> int:
    # Otherwise Pillow decodes the whole PNG to search for an EXIF block.
    if header.format == "PNG" and "exif" not in header.info:
        return 1
    try:
        return header.getexif().get(_ORIENTATION, 1)
    except Exception:  # ignore a damaged EXIF block; the image may be intact
        return 1


def _decode_common(file: BinaryIO, header: Pillow.Image) -> Pixels:
    """Decode JPEG, PNG and WebP with OpenCV: the same pixels as Pillow, in half the memory."""
    file.seek(0)
    data = file.read()
    # OpenCV fills the missing part of a truncated JPEG with gray. Coded data cannot contain the end marker, so a file
    # that ends with it is complete; Pillow checks the others, since some cameras append their own data.
    if header.format in ("JPEG", "MPO") and not data.endswith(b"\xff\xd9"):
        _open(io.BytesIO(data)).load()
    array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None:
        _open(io.BytesIO(data)).load()  # raises with the reason
        raise Refused("damaged, or of an unsupported kind")
    return _split(_to_8bit(array), bgr=True)


def _from_pillow(image: Pillow.Image, profile: bytes | None) -> Pixels:
    if image.mode == "CMYK" and profile:
        try:
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, io.BytesIO(profile), srgb, outputMode="RGB")
        except ImageCms.PyCMSError:
            image = image.convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGB")
    return _split(np.asarray(image), bgr=False)


def _split(array: np.ndarray, bgr: bool) -> Pixels:
    """(H, W), (H, W, 1), (H, W, 3 or 4) uint8 in either channel order → Pixels."""
    if array.ndim > 3:
        raise Refused(f"{array.ndim} dimensions; a single image is required")
    if array.ndim == 2 or array.shape[2] == 1:
        return Pixels(array.reshape(array.shape[:2]), None)
    if array.shape[2] == 2:
        return Pixels(np.ascontiguousarray(array[..., 0]), np.ascontiguousarray(array[..., 1]))
    if array.shape[2] == 3:
        return Pixels(array if bgr else cv2.cvtColor(array, cv2.COLOR_RGB2BGR), None)
    if array.shape[2] != 4:
        raise Refused(f"{array.shape[2]} channels; gray, RGB or RGBA is required")
    convert = cv2.COLOR_BGRA2BGR if bgr else cv2.COLOR_RGBA2BGR
    return Pixels(cv2.cvtColor(array, convert), np.ascontiguousarray(array[..., 3]))


def _to_8bit(array: np.ndarray) -> np.ndarray:
    """Scale by type: the largest unsigned integer, or 1.0 for floats, becomes 255. Rounds to nearest."""
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "uf":
        raise Refused(f"{array.dtype} pixels; unsigned integers or floats are required")
    scale = 255.0 if array.dtype.kind == "f" else 255.0 / np.iinfo(array.dtype).max
    scaled = np.empty(array.shape, np.uint8)
    above = 0
    for top in range(0, len(array), _BAND_ROWS):
        band = array[top : top + _BAND_ROWS].astype(np.float64)
        if not np.isfinite(band).all():
            raise Refused("NaN or infinite pixels")
        above += np.count_nonzero(band * scale > 255.5)
        scaled[top : top + _BAND_ROWS] = np.rint((band * scale).clip(0, 255))
    if above > array.size / 2:
        raise Refused("float pixels mostly above 1; white must be 1.0")
    return scaled


def _to_srgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """Convert colour pixels from the file's embedded RGB profile (Display P3, Adobe RGB ...) to sRGB."""
    if not profile or pixels.colour.ndim == 2:
        return pixels
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != "RGB":
            return pixels
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):  # ignore a damaged profile
        return pixels
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    # Embedded copies of sRGB itself differ by rounding only: those pixels are left unchanged.
    if np.abs(_transformed(grid, transform).astype(int) - grid).max() <= 2:
        return pixels
    for top in range(0, len(pixels.colour), _BAND_ROWS):
        band = pixels.colour[top : top + _BAND_ROWS]
        band[:] = _transformed(band, transform)
    return pixels


def _transformed(bgr: np.ndarray, transform: ImageCms.ImageCmsTransform) -> np.ndarray:
    rgb = Pillow.fromarray(np.ascontiguousarray(bgr[..., ::-1]))
    return np.asarray(ImageCms.applyTransform(rgb, transform))[..., ::-1]


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the EXIF orientation 1..8 (TIFF 6.0, tag 274)."""

    def turn(array: np.ndarray) -> np.ndarray:
        if orientation in (5, 6, 7, 8):
            array = cv2.transpose(array)
        flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # cv2.flip: 1 left-right, 0 top-bottom, -1 both
        return cv2.flip(array, flips[orientation]) if orientation in flips else array

    return Pixels(turn(pixels.colour), None if pixels.alpha is None else turn(pixels.alpha))


def _decode_tiff(file: BinaryIO, max_pixels: int) -> Pixels:
    """Decode TIFF: tifffile reads the header and deep pixels, Pillow 8-bit pixels in any colour space and codec."""
    import tifffile  # slow to import, and only needed for TIFFs

    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages[0]
        _check_size(page.imagewidth, page.imagelength, max_pixels)
        count = sum(not (other.is_reduced or other.is_mask) for other in map(tiff.pages.get, range(len(tiff.pages))))
        if count > 1:
            raise Refused(f"{count} pages; one image per file is required")
        profile = page.iccprofile
        if page.bitspersample <= 8 and page.sampleformat == tifffile.SAMPLEFORMAT.UINT:
            file.seek(0)
            try:
                image = _open(file, formats=["TIFF"])
            except Pillow.UnidentifiedImageError:
                raise Refused("damaged, or a TIFF of an unsupported kind") from None
            return _to_srgb(_from_pillow(image, profile), profile)  # Pillow applies the orientation of TIFFs itself
        if page.dtype is None or page.bitspersample != page.dtype.itemsize * 8:
            raise Refused(f"{page.bitspersample}-bit pixels; 8, 16, 32 or 64 are required")
        if page.photometric not in (0, 1, 2):
            raise Refused(f"{page.photometric.name} colours of {page.bitspersample} bits; gray or RGB is required")
        orientation = int(page.tags.valueof(_ORIENTATION, 1))
        white_is_zero = page.photometric == 0
        try:
            array = page.asarray()
            if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and array.ndim == 3:
                array = np.moveaxis(array, 0, 2)
            pixels = _split(_to_8bit(array), bgr=False)
        except (ValueError, ImportError) as error:
            # tifffile needs another package for some codecs; OpenCV supports the common ones, for interleaved pixels.
            if "imagecodecs" not in str(error) or page.planarconfig == tifffile.PLANARCONFIG.SEPARATE:
                raise
            file.seek(0)
            array = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
            if array is None:
                raise Refused(f"{page.compression.name} compression of {page.dtype} pixels is not supported") from None
            pixels, orientation = _split(_to_8bit(array), bgr=True), 1
    if white_is_zero:
        pixels = Pixels(255 - pixels.colour, pixels.alpha)
    return _upright(_to_srgb(pixels, profile), orientation)
