"""Encoding of photographs and halftones, with their resolution, as bytes of a file."""

import io

import cv2
import numpy as np
from PIL import Image as Pillow

from images.png import with_resolution
from images.resolution import Resolution, per_inch

HALFTONE_SUFFIXES = (".png", ".bmp", ".pbm", ".tif", ".tiff")
"""Formats of one bit per pixel; a .pbm stores no resolution."""
PALETTE_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")
"""Formats that store colours, lossless."""
_PILLOW = {".bmp": "BMP", ".pbm": "PPM", ".tif": "TIFF", ".tiff": "TIFF"}
# For restored photographs, run lengths are faster and 10 % smaller than the default strategy.
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]


def encode_image(suffix: str, image: np.ndarray, resolution: Resolution | None) -> bytes:
    """Gray (H, W), BGR or BGRA uint8 in the format of `suffix`. Raises cv2.error for an unknown suffix."""
    suffix = suffix.lower()
    if suffix == ".png":
        return with_resolution(cv2.imencode(suffix, image, _PNG)[1].tobytes(), resolution)
    if suffix in _PILLOW:
        order = cv2.COLOR_BGRA2RGBA if image.shape[-1] == 4 else cv2.COLOR_BGR2RGB
        return _with_pillow(
            suffix, Pillow.fromarray(image if image.ndim == 2 else cv2.cvtColor(image, order)), resolution
        )
    return cv2.imencode(suffix, image)[1].tobytes()


def encode_halftone(suffix: str, halftone: np.ndarray, resolution: Resolution | None) -> bytes:
    """Halftone uint8 {0, 255} (H, W) with one bit per pixel: PNG, BMP, PBM, or TIFF with Group 4 compression.

    Raises ValueError for a suffix that is not in HALFTONE_SUFFIXES.
    """
    suffix = suffix.lower()
    if suffix not in HALFTONE_SUFFIXES:
        raise ValueError(f"a halftone is written as {', '.join(HALFTONE_SUFFIXES)}, not {suffix or 'without ending'}")
    if suffix == ".png":
        return with_resolution(cv2.imencode(suffix, halftone, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes(), resolution)
    return _with_pillow(suffix, Pillow.fromarray(halftone > 127), resolution)


def encode_indexed(suffix: str, indices: np.ndarray, palette: np.ndarray, resolution: Resolution | None) -> bytes:
    """Indices uint8 (H, W) into `palette` uint8 (P, 3) BGR, as an indexed PNG, BMP or TIFF; the order is kept.

    Raises ValueError for a suffix that is not in PALETTE_SUFFIXES.
    """
    suffix = suffix.lower()
    if suffix not in PALETTE_SUFFIXES:
        raise ValueError(f"colours are written as {', '.join(PALETTE_SUFFIXES)}, not {suffix or 'without ending'}")
    image = Pillow.fromarray(indices)
    image.putpalette(np.ascontiguousarray(palette[:, ::-1]).tobytes())
    return _with_pillow(suffix, image, resolution)


def _with_pillow(suffix: str, image: Pillow.Image, resolution: Resolution | None) -> bytes:
    buffer, options = io.BytesIO(), {}
    if resolution or suffix == ".bmp":  # of which Pillow would write 96 by default
        options["dpi"] = per_inch(resolution) if resolution else (0, 0)
    if suffix in (".tif", ".tiff"):
        options["compression"] = "group4" if image.mode == "1" else "tiff_lzw"
    image.save(buffer, _PILLOW.get(suffix, "PNG"), **options)
    return buffer.getvalue()
