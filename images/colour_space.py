"""Conversion of declared colours, by ICC profile or by transfer curve and primaries, to sRGB."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms

from images.pixels import BAND_ROWS, Pixels

SRGB_CHROMATICITIES = ((0.3127, 0.329), (0.64, 0.33), (0.3, 0.6), (0.15, 0.06))
"""x and y of white, red, green and blue (IEC 61966-2-1)."""
_DISPLAY_GAMMA, _GAMMA_TOLERANCE = 2.2, 0.05  # gAMA 0.45455 is what encoders write for sRGB; tolerance as in libpng
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
# ITU-T H.273, tables 2 and 3: the code points of cICP that are converted. Transfer None is the sRGB curve.
_D65 = (0.3127, 0.329)
_ADOBE_RGB = (_D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
_CICP_PRIMARIES = {
    1: SRGB_CHROMATICITIES,
    5: (_D65, (0.64, 0.33), (0.29, 0.6), (0.15, 0.06)),
    6: (_D65, (0.63, 0.34), (0.31, 0.595), (0.155, 0.07)),
    9: (_D65, (0.708, 0.292), (0.17, 0.797), (0.131, 0.046)),
    12: (_D65, (0.68, 0.32), (0.265, 0.69), (0.15, 0.06)),
}
_CICP_GAMMA = {4: 2.2, 5: 2.8, 8: 1.0, 13: None}
_CICP_NAMES = {16: "PQ (HDR)", 18: "HLG (HDR)"}
_EXACT = 0x0100  # cmsFLAGS_NOOPTIMIZE: otherwise dark grays are interpolated from a coarse table
_UNUSED = "is not supported; the pixels were read as sRGB"


class Encoding(NamedTuple):
    """Meaning of pixel values: light is level ** gamma (None: the sRGB curve), with these white and primaries."""

    gamma: float | None
    chromaticities: tuple[tuple[float, float], ...] = SRGB_CHROMATICITIES

    def valid(self) -> bool:
        """Whether the curve and the primaries can be inverted."""
        if self.gamma is not None and not 0.1 <= self.gamma <= 10:
            return False
        if any(y <= 0 or x < 0 or x + y > 1.1 for x, y in self.chromaticities):
            return False
        (rx, ry), (gx, gy), (bx, by) = self.chromaticities[1:]
        return abs((gx - rx) * (by - ry) - (bx - rx) * (gy - ry)) > 1e-3

    def is_srgb(self) -> bool:
        """Whether the pixels are sRGB up to the rounding of such declarations, and left as they are."""
        close = self.gamma is None or abs(self.gamma / _DISPLAY_GAMMA - 1) <= _GAMMA_TOLERANCE
        return close and np.abs(np.subtract(self.chromaticities, SRGB_CHROMATICITIES)).max() < 0.005


def exif_encoding(exif: Pillow.Exif | None) -> Encoding | None:
    """Adobe RGB where a camera declares it in EXIF without a profile (DCF 2.0, option file R03), else None."""
    try:
        declared = exif.get_ifd(0x8769).get(0xA001)
        adobe = declared == 2 or declared == 0xFFFF and exif.get_ifd(0xA005).get(1) == "R03"
    except Exception:  # none, or a damaged EXIF block
        return None
    return Encoding(563 / 256, _ADOBE_RGB) if adobe else None


def cicp_encoding(primaries: int, transfer: int, matrix: int, full_range: int) -> Encoding | str:
    """The encoding of a cICP chunk, or why it is not supported. Source: ITU-T H.273."""
    if primaries in _CICP_PRIMARIES and transfer in _CICP_GAMMA and matrix == 0 and full_range == 1:
        return Encoding(_CICP_GAMMA[transfer], _CICP_PRIMARIES[primaries])
    name = _CICP_NAMES.get(transfer, f"{primaries}/{transfer}/{matrix}/{full_range}")
    return f"cICP colour {name}"


def encoding_to_srgb(colour: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Gray (H, W) or BGR (H, W, 3), uint8 or uint16 in `encoding` → sRGB, uint8. Colours outside are clipped."""
    top = np.iinfo(colour.dtype).max
    light = _to_light(np.linspace(0, 1, top + 1), encoding.gamma).astype(np.float32)
    matrix = None
    if colour.ndim == 3 and encoding.chromaticities != SRGB_CHROMATICITIES:
        matrix = _matrix_to_srgb(encoding.chromaticities)[::-1, ::-1].T.astype(np.float32)  # of BGR rows
    converted = np.empty(colour.shape, np.uint8)
    for start in range(0, len(colour), BAND_ROWS):
        band = light[colour[start : start + BAND_ROWS]]
        band = (band if matrix is None else band @ matrix).clip(0, 1)
        srgb = np.where(band <= 0.0031308, 12.92 * band, 1.055 * band ** (1 / 2.4) - 0.055)
        converted[start : start + BAND_ROWS] = np.rint(255 * srgb)
    return converted


def profile_to_srgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """Convert from an embedded gray or RGB profile (Display P3, Adobe RGB, dot gain ...) to sRGB.

    A remark is added where the profile is damaged or of another kind than the pixels.
    """
    if not profile:
        return pixels
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        kind = source.profile.xcolor_space.strip()
        if kind not in ("RGB", "GRAY"):
            return unconverted(pixels, f"colour profile for {kind}")
        mode, flags = ("L", _EXACT) if kind == "GRAY" else ("RGB", 0)
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError):
        return unconverted(pixels, "damaged colour profile")
    colour = pixels.colour
    if kind == "GRAY" or colour.ndim == 2:
        if colour.ndim == 3 and not (colour == colour[..., :1]).all():
            return unconverted(pixels, "gray colour profile of a colour image")
        ramp = np.arange(256, dtype=np.uint8)[None]
        ramp = ramp if kind == "GRAY" else np.repeat(ramp[..., None], 3, axis=2)
        levels = _transformed(ramp, transform)[0, :, 1]
        same = np.abs(levels - np.arange(256.0)).max() <= 2
        return pixels if same else pixels._replace(colour=levels[colour])
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    # Embedded copies of sRGB itself differ by rounding only: those pixels are left unchanged.
    if np.abs(_transformed(grid, transform).astype(int) - grid).max() <= 2:
        return pixels
    for top in range(0, len(colour), BAND_ROWS):
        band = colour[top : top + BAND_ROWS]
        band[:] = _transformed(band, transform)
    return pixels


def unconverted(pixels: Pixels, what: str) -> Pixels:
    """`pixels` with the remark that `what` is not supported."""
    return pixels._replace(remarks=(*pixels.remarks, f"its {what} {_UNUSED}"))


def _transformed(levels: np.ndarray, transform: ImageCms.ImageCmsTransform) -> np.ndarray:
    """Gray (H, W) or BGR (H, W, 3) → BGR."""
    image = Pillow.fromarray(levels if levels.ndim == 2 else np.ascontiguousarray(levels[..., ::-1]))
    return np.asarray(ImageCms.applyTransform(image, transform))[..., ::-1]


def _to_light(level: np.ndarray, gamma: float | None) -> np.ndarray:
    if gamma is not None:
        return level**gamma
    return np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def _matrix_to_srgb(chromaticities: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Linear RGB → linear sRGB, with Bradford's adaptation of the white point (ICC.1:2022, annex E)."""
    white, target = (_xyz(each[0]) for each in (chromaticities, SRGB_CHROMATICITIES))
    cones = (_BRADFORD @ target) / (_BRADFORD @ white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    return np.linalg.inv(_to_xyz(SRGB_CHROMATICITIES)) @ adaptation @ _to_xyz(chromaticities)


def _to_xyz(chromaticities: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Linear RGB → XYZ: primaries as columns, scaled so that their sum is the white point."""
    primaries = np.stack([_xyz(each) for each in chromaticities[1:]], axis=1)
    return primaries * np.linalg.solve(primaries, _xyz(chromaticities[0]))


def _xyz(chromaticity: tuple[float, float]) -> np.ndarray:
    x, y = chromaticity
    return np.array([x / y, 1.0, (1 - x - y) / y])
