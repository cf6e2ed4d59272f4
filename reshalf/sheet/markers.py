"""Finds the markers of sheets in a scan and groups those that belong to one sheet."""

from itertools import product
from typing import NamedTuple

import cv2
import numpy as np

from reshalf.sheet.header import CORNERS, SYMBOLS, size_of
from reshalf.sheet.layout import DICTIONARY, MARKER, Layout

SIDES = (1500, 3000, 6000)
"""Longest sides in pixels to which a scan is reduced for the search: large markers are found faster in small images."""
MAX_RESIDUAL = 2.0
"""Largest distance, in cells, of a marker's corner from its place after a projective fit; paper and lenses bend it."""
MAX_EACH = 8
"""Markers of a corner that are considered; more sheets in one scan are not expected."""


class Marker(NamedTuple):
    """A marker: its corner of the sheet, its symbol, and the positions of its corners, (4, 2) float32, in pixels.

    Pixel (0, 0) covers the area from 0 to 1, so its centre is at (0.5, 0.5).
    """

    corner: int
    symbol: int
    points: np.ndarray


class Placed(NamedTuple):
    """A sheet in a scan: its layout, the corners of which its markers were found, and (3, 3) from cells to pixels."""

    layout: Layout
    corners: tuple[int, ...]
    to_scan: np.ndarray


def find_markers(gray: np.ndarray) -> list[Marker]:
    """Markers in a scan, (H, W) uint8, sub-pixel positions; each is found once, at the finest scale that shows it."""
    found: dict[int, list[np.ndarray]] = {}
    longest, last = max(gray.shape), 0.0
    for side in SIDES:
        scale = min(side / longest, 1.0)
        if scale == last:
            break
        last = scale
        reduced = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else gray
        for number, points in _detect(reduced):
            points = (points + 0.5) / np.array(reduced.shape[::-1]) * np.array(gray.shape[::-1])
            others = [
                other
                for other in found.get(number, [])
                if np.abs(other - points).max() > np.ptp(points, axis=0).max() / 2
            ]
            found[number] = [*others, points]
    return [
        Marker(*divmod(number, SYMBOLS), _refined(gray, points)) for number, group in found.items() for points in group
    ]


def _detect(gray: np.ndarray) -> list[tuple[int, np.ndarray]]:
    parameters = cv2.aruco.DetectorParameters()
    parameters.minMarkerPerimeterRate = 0.02  # relative to the image's longer side
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    parameters.relativeCornerRefinmentWinSize = 0.3
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(DICTIONARY), parameters)
    corners, ids, _ = detector.detectMarkers(gray)
    return [] if ids is None else [(int(n), c.reshape(4, 2)) for n, c in zip(ids.ravel(), corners, strict=True)]


def _refined(gray: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Corners refined at full resolution, in windows of half a module."""
    side = np.linalg.norm(points - np.roll(points, 1, axis=0), axis=1).min()
    window = max(int(side / 16), 2)
    corners = (points - 0.5).astype(np.float32).reshape(-1, 1, 2)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01)
    return cv2.cornerSubPix(gray, corners, (window, window), (-1, -1), criteria).reshape(4, 2) + 0.5


def place_sheets(markers: list[Marker]) -> list[Placed]:
    """Sheets of four or three matching markers: their symbols give a size, and a projective map fits all their corners.

    The best fits of four markers come first; a marker belongs to one sheet.
    """
    by_corner = [[marker for marker in markers if marker.corner == corner][:MAX_EACH] for corner in range(CORNERS)]
    candidates = []
    for chosen in product(*([*group, None] for group in by_corner)):
        group = [marker for marker in chosen if marker]
        if len(group) < CORNERS - 1:
            continue
        size = size_of({marker.corner: marker.symbol for marker in group})
        if size is None:
            continue
        layout = Layout(*size)
        to_scan, residual = _fit(group, layout)
        if residual < MAX_RESIDUAL:
            candidates.append((-len(group), residual, group, Placed(layout, tuple(m.corner for m in group), to_scan)))
    sheets, used = [], set()
    for _, _, group, placed in sorted(candidates, key=lambda candidate: candidate[:2]):
        if used.isdisjoint(map(id, group)):
            used.update(map(id, group))
            sheets.append(placed)
    return sheets


def _fit(group: list[Marker], layout: Layout) -> tuple[np.ndarray, float]:
    """The projective map from cells to pixels, least squares, and its largest residual in cells."""
    cells = np.concatenate([layout.marker_corners[marker.corner] for marker in group])
    points = np.concatenate([marker.points for marker in group])
    to_scan, _ = cv2.findHomography(cells, points)
    if to_scan is None:
        return np.eye(3), np.inf
    mapped = cv2.perspectiveTransform(cells[None], to_scan)[0]
    cell = np.sqrt(cv2.contourArea(group[0].points)) / MARKER
    return to_scan, float(np.linalg.norm(mapped - points, axis=1).max() / max(cell, 1e-6))
