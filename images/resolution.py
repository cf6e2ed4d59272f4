"""Resolution of image files in pixels per inch."""

import math

from PIL import Image as Pillow

INCH = 0.0254
"""Metres."""
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
"""Tags of TIFF 6.0 and EXIF."""

Resolution = tuple[float, float]
"""Pixels per inch along x and y."""


def header_resolution(header: Pillow.Image, exif: Pillow.Exif | None) -> Resolution | None:
    """The resolution of a file opened with Pillow: of JFIF, pHYs or the BMP header, else of EXIF; None without unit."""
    if header.format in ("JPEG", "MPO"):  # Pillow's "dpi" is 72 where none is given
        scale = {1: 1.0, 2: 2.54}.get(header.info.get("jfif_unit"))
        found = scale and _valid(*(scale * count for count in header.info["jfif_density"]))
    else:
        found = _valid(*header.info["dpi"]) if "dpi" in header.info else None
    if found or exif is None:
        return found
    return tag_resolution(exif.get(X_RESOLUTION), exif.get(Y_RESOLUTION), exif.get(RESOLUTION_UNIT, 2))


def tag_resolution(x, y, unit) -> Resolution | None:
    """The resolution that the tags of TIFF or EXIF give; numbers or (numerator, denominator); unit 2 inch, 3 cm."""
    scale = {2: 1.0, 3: 2.54}.get(unit)
    if scale is None or x is None:
        return None
    try:
        return _valid(*(scale * _quotient(value) for value in (x, x if y is None else y)))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):  # ignore damaged tags
        return None


def per_metre(resolution: Resolution) -> tuple[int, int]:
    """Pixels per metre along x and y, rounded, at least 1: the unit of PNG and BMP."""
    return max(round(resolution[0] / INCH), 1), max(round(resolution[1] / INCH), 1)


def per_inch(resolution: Resolution) -> Resolution:
    """The same, with the whole numbers restored that a file in pixels per metre has rounded: 299.9994 → 300."""
    return tuple(float(round(value)) if abs(value - round(value)) < INCH / 2 else value for value in resolution)


def _quotient(value) -> float:
    numerator, denominator = value if isinstance(value, tuple) else (value, 1)
    return float(numerator) / float(denominator)


def _valid(x: float, y: float) -> Resolution | None:
    x, y = float(x), float(y)
    return (x, y) if all(math.isfinite(value) and INCH <= value <= 1_000_000 for value in (x, y)) else None
