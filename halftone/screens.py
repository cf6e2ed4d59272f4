"""AM screens of offset printing: dots on a rotated grid whose size follows the coverage."""

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from numba import njit

from halftone.checks import as_gray
from halftone.inks import per_ink

CELL = 256  # samples a side of the screen's cell
# Position of the first pixel's centre on the screen. At (0, 0), dots with an integer pitch at 0° would be symmetric to
# the pixel grid, and up to eight pixels of a dot would turn white at the same level.
ORIGIN_X, ORIGIN_Y = 0.79, 0.63

# Spot functions: the threshold's height over a cell, u and v in -1/2..1/2; ink remains longest where it is highest.
SPOTS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "round": lambda u, v: np.cos(2 * np.pi * u) + np.cos(2 * np.pi * v),
    "ellipse": lambda u, v: np.cos(2 * np.pi * u) + 0.7 * np.cos(2 * np.pi * v),
    "line": lambda u, v: np.cos(2 * np.pi * v) + 0 * u,
    "square": lambda u, v: -np.maximum(np.abs(u), np.abs(v)),
    "diamond": lambda u, v: -(np.abs(u) + np.abs(v)),
}

# 30° between the dark inks, where the moiré of two screens is finest; yellow, the least visible, between two others.
STANDARD_ANGLES = {"cyan": 15.0, "magenta": 75.0, "yellow": 0.0, "black": 45.0}


def am_screen(
    gray: np.ndarray,
    *,
    spot: str = "round",
    pitch: float = 6.0,
    angle: float = 45.0,
    supersample: int = 1,
    offset: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Screen with any pitch and angle; uint8 (H, W), {0, 255}, or antialiased 0..255 with `supersample` > 1.

    gray: (H, W), uint8 or floating in 0..255. spot: a name in SPOTS; "round" gives round dots in light and in dark
    tones and a checkerboard at 50 %. pitch: distance of dots in pixels, at least 2. angle: degrees, counter-clockwise.
    supersample: samples a side of a pixel, averaged. offset: x and y of the screen in pixels.
    Thresholds are the quantiles of the spot function, so the share of white equals the tone for every spot.
    Raises TypeError or ValueError for a wrong dtype, shape or range, KeyError for an unknown spot.
    """
    if spot not in SPOTS:
        raise KeyError(f"unknown spot {spot!r}, known: {', '.join(SPOTS)}")
    if not 2 <= pitch < np.inf:
        raise ValueError(f"pitch must be at least 2 pixels and finite, not {pitch}")
    if not np.isfinite(angle):
        raise ValueError(f"angle must be finite, not {angle}")
    if supersample < 1:
        raise ValueError(f"supersample must be at least 1, not {supersample}")
    gray = as_gray(gray)
    cell = _cell(spot)
    radians = np.deg2rad(angle % 360)
    step = np.array([np.cos(radians), np.sin(radians)]) / pitch
    origin_x, origin_y = ORIGIN_X - offset[0], ORIGIN_Y - offset[1]
    if supersample == 1 and gray.dtype == np.uint8:
        cell = cell.astype(np.uint8)
    if supersample == 1:
        return _screen(gray, cell, step[0], step[1], origin_x, origin_y)
    return _screen_antialiased(gray, cell, step[0], step[1], origin_x, origin_y, supersample)


def am_cmyk(
    bgr: np.ndarray,
    *,
    spot: str = "round",
    pitch: float = 6.0,
    angles: Mapping[str, float] = STANDARD_ANGLES,
    under_colour_removal: float = 1.0,
    supersample: int = 1,
) -> np.ndarray:
    """Simulate a print in four screened inks: BGR uint8 (H, W, 3).

    bgr: uint8 (H, W, 3). angles: degrees for each ink. under_colour_removal: as in `inks.separate`. The other
    arguments are those of `am_screen`. Raises as `am_screen` and `inks.separate` do.
    """

    def halftone(gray: np.ndarray, ink: str) -> np.ndarray:
        return am_screen(gray, spot=spot, pitch=pitch, angle=angles[ink], supersample=supersample)

    return per_ink(bgr, halftone, under_colour_removal=under_colour_removal)


@lru_cache
def _cell(spot: str) -> np.ndarray:
    """float32 (CELL, CELL): thresholds, uniformly distributed in 0..255, in the order of the spot function."""
    position = (np.arange(CELL) + 0.5) / CELL - 0.5
    height = np.round(SPOTS[spot](position[None, :], position[:, None]), 12)
    order = np.argsort(height, axis=None, kind="stable")
    cell = np.empty(CELL * CELL, np.float32)
    cell[order] = 255 * (np.arange(CELL * CELL) + 0.5) / CELL**2
    cell = cell.reshape(CELL, CELL)
    cell.setflags(write=False)
    return cell


@njit(cache=True, nogil=True)
def _screen(gray, cell, along, across, origin_x, origin_y):
    height, width = gray.shape
    out = np.empty((height, width), np.uint8)
    # Positions within a cell are fixed-point fractions of 2^32: uint32 additions wrap around at the cell border.
    step_u, step_v = np.uint32(_fraction(along)), np.uint32(_fraction(across))
    for y in range(height):
        source, target = gray[y], out[y]
        u = np.uint32(_fraction(origin_x * along - (y + origin_y) * across))
        v = np.uint32(_fraction(origin_x * across + (y + origin_y) * along))
        for x in range(width):
            target[x] = 255 if source[x] > cell[v >> np.uint32(24), u >> np.uint32(24)] else 0
            u = np.uint32(u + step_u)
            v = np.uint32(v + step_v)
    return out


@njit(cache=True, nogil=True)
def _screen_antialiased(gray, cell, along, across, origin_x, origin_y, supersample):
    height, width = gray.shape
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            white = 0
            for i in range(supersample):
                sub_y = y + (i + 0.5) / supersample - 0.5 + origin_y
                for j in range(supersample):
                    sub_x = x + (j + 0.5) / supersample - 0.5 + origin_x
                    u = _fraction(sub_x * along - sub_y * across) >> 24 & 255
                    v = _fraction(sub_x * across + sub_y * along) >> 24 & 255
                    white += gray[y, x] > cell[v, u]
            out[y, x] = np.uint8(255 * white / supersample**2 + 0.5)
    return out


@njit(inline="always")
def _fraction(position):
    return np.int64((position - np.floor(position)) * 4294967296.0)
