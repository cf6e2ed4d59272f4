"""Reads all sheets in a scan."""

from typing import NamedTuple

import cv2
import numpy as np

from model.pilot import PERIOD, pilot_wave
from reshalf.sheet.cells import Cells, dot_gain, read_cells
from reshalf.sheet.grid import cell_pitch, find_grid
from reshalf.sheet.markers import Placed, find_markers, place_sheets
from utils.errors import UserError

MIN_PITCH = 1.6
"""Pixels of the scan per cell below which nothing can be read."""
MAX_OUTSIDE = 0.002
"""Share of the picture that may lie outside the scan."""
CORNER_NAMES = ("top left", "top right", "bottom right", "bottom left")


class Sheet(NamedTuple):
    """A sheet: its cells, the dot gain of the print (None if unknown), and the corners whose markers were found."""

    cells: Cells
    dot_gain: float | None
    corners: tuple[int, ...]

    @property
    def pilot(self) -> float:
        """Strength of the pilot in standard deviations of chance; sheets begin at its period."""
        halftone = self.cells.halftone
        wave = pilot_wave(halftone.shape)
        return float(np.mean((halftone / 127.5 - 1) * wave) * np.sqrt(halftone.size))


class Reading(NamedTuple):
    """The sheets of a scan, and a line for every one that was seen but could not be read."""

    sheets: list[Sheet]
    failures: list[str]


def read_sheets(scan: np.ndarray) -> Reading:
    """The sheets in a scan or photograph, uint8 (H, W, 3) BGR or gray (H, W), in reading order."""
    gray = scan if scan.ndim == 2 else cv2.cvtColor(scan, cv2.COLOR_BGR2GRAY)
    markers = find_markers(gray)
    sheets, failures = [], []
    for placed in sorted(place_sheets(markers), key=lambda placed: placed.to_scan[1, 2] + placed.to_scan[0, 2]):
        try:
            _check(placed, gray.shape)
            grid = find_grid(gray, placed)
            sheets.append(Sheet(read_cells(grid), dot_gain(grid), placed.corners))
        except UserError as error:
            failures.append(str(error))
    if not sheets and not failures:
        failures.append(_no_sheet([CORNER_NAMES[marker.corner] for marker in markers]))
    return Reading(sheets, failures)


def describe_sheet(sheet: Sheet) -> str:
    """Number of the sheet, if its picture has several, and dot gain, if it is known; may be empty."""
    header = sheet.cells.header
    place = f"sheet {header.number} of {header.count}" if header.count > 1 else ""
    return ", ".join(filter(None, (place, sheet.dot_gain is not None and f"dot gain {sheet.dot_gain:.0%}")))


def _no_sheet(corners: list[str]) -> str:
    if not corners:
        return "no markers of a sheet found: not a scan of a sheet, or too coarse, blurred or dark"
    return f"markers found: {', '.join(sorted(set(corners)))}; three of one sheet are needed, whole and in focus"


def _check(placed: Placed, shape: tuple[int, int]) -> None:
    """Raise UserError for a scan that is too coarse, or from which a part of the picture is cut."""
    pitch = cell_pitch(placed)
    if pitch < MIN_PITCH:
        raise UserError(
            f"too coarse: {pitch:.1f} pixels of the scan per pixel of the picture, at least {MIN_PITCH} needed"
        )
    layout = placed.layout
    y, x = np.mgrid[0 : layout.height : PERIOD, 0 : layout.width : PERIOD].astype(np.float32) + 0.5
    points = cv2.perspectiveTransform(np.stack([x, y], axis=-1).reshape(1, -1, 2), placed.to_scan)[0]
    outside = ((points < 0) | (points > shape[::-1])).any(axis=1).mean()
    if outside > MAX_OUTSIDE:
        raise UserError(f"cut off: {outside:.0%} of the picture lies outside the scan")
