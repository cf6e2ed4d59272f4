"""Layout of a sheet in cells: one cell is one pixel of the halftone, printed as a square of printer dots.

Origin: top left corner of the picture. A ring of known cells surrounds the picture, from which the reader learns the
print's geometry and dot gain; it also carries the header. The markers lie above and below the ring, at its corners:

    marker  wedge   marker
    ring ring ring ring ring
    ring   picture      ring
    ring ring ring ring ring
    marker          marker
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from halftone.ordered import bayer_matrix
from reshalf.sheet.header import HEADER_BITS, marker_ids

DICTIONARY = cv2.aruco.DICT_6X6_1000
MODULES, MODULE = 8, 4
"""Modules along a marker's side, with its black border, and cells along a module's side."""
MARKER = MODULES * MODULE
GAP = MODULE
"""Cells of white around a marker."""
RING = 4
"""Cells of the ring's width."""
HEADER_STEP = 4
"""Every fourth cell of the ring carries a bit of the header."""
MIN_WIDTH, MIN_HEIGHT = 2 * (MARKER + GAP) - 2 * RING, 32
"""Cells inside the ring; smaller pictures lie in its top left corner."""
STEPS = 9
"""Patches of the wedge, from white to black."""
PATCH = (8, 24)
"""Smallest and largest width of a patch in cells; its height is the smallest width."""


@dataclass(frozen=True)
class Layout:
    """Layout of a sheet with a picture of width × height cells. Areas are (top, left, bottom, right) in cells."""

    width: int
    height: int

    @property
    def inner(self) -> tuple[int, int]:
        """Rows and columns of cells inside the ring."""
        return max(self.height, MIN_HEIGHT), max(self.width, MIN_WIDTH)

    @property
    def frame(self) -> tuple[int, int, int, int]:
        """Area of ring and markers."""
        rows, columns = self.inner
        outside = RING + GAP + MARKER
        return -outside, -RING, rows + outside, columns + RING

    @cached_property
    def ring(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the ring's cells, in raster order."""
        rows, columns = self.inner
        outside = np.ones((rows + 2 * RING, columns + 2 * RING), bool)
        outside[RING:-RING, RING:-RING] = False
        y, x = np.nonzero(outside)
        return y - RING, x - RING

    def ring_cells(self, header: np.ndarray | None = None) -> np.ndarray:
        """Which of the ring's cells are white, bool: pseudo-random bits, inverted where the header has a 1.

        header  HEADER_BITS bits; None: all are 0
        """
        count = len(self.ring[0])
        noise = np.frombuffer(hashlib.shake_256(b"ring").digest(-(-count // 8)), np.uint8)
        white = np.unpackbits(noise)[:count].astype(bool)
        if header is not None:
            places = self.header_cells
            white[places] ^= header[np.arange(len(places)) % HEADER_BITS]
        return white

    @property
    def header_cells(self) -> np.ndarray:
        """Indices of the ring's cells that carry the header's bits in turn."""
        return np.arange(0, len(self.ring[0]), HEADER_STEP)

    @property
    def markers(self) -> list[tuple[int, int]]:
        """Top left corner (y, x) of each marker, clockwise from top left."""
        top, left, bottom, right = self.frame
        return [(top, left), (top, right - MARKER), (bottom - MARKER, right - MARKER), (bottom - MARKER, left)]

    @property
    def marker_corners(self) -> np.ndarray:
        """Corners (x, y) of the markers, (4, 4, 2) float32, clockwise from top left, as OpenCV returns them."""
        square = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32) * MARKER
        return np.array([square + (x, y) for y, x in self.markers], np.float32)

    @property
    def wedge(self) -> tuple[int, int, int]:
        """Top, left and width of a patch of the wedge; width 0 for a picture that is too narrow for it."""
        top, left, _, right = self.frame
        space = right - left - 2 * (MARKER + GAP)
        width = min(space // STEPS, PATCH[1])
        if width < PATCH[0]:
            return 0, 0, 0
        return top + (MARKER - PATCH[0]) // 2, left + MARKER + GAP + (space - STEPS * width) // 2, width

    def wedge_cells(self) -> np.ndarray:
        """The wedge, bool (PATCH[0], STEPS · width), True for white: a Bayer dither of 0, 1/8 … 1 of black."""
        width = self.wedge[2]
        black = np.repeat(np.arange(STEPS) / (STEPS - 1), width)
        thresholds = np.tile(bayer_matrix(4), (PATCH[0] // 4, -(-black.size // 4)))[:, : black.size]
        return thresholds >= black * 16

    def cells(self, picture: np.ndarray, header: np.ndarray) -> np.ndarray:
        """The whole frame, uint8 {0, 255}, one element a cell, with a picture (height, width) in {0, 255}."""
        top, left, bottom, right = self.frame
        frame = np.full((bottom - top, right - left), 255, np.uint8)
        frame[self.ring[0] - top, self.ring[1] - left] = np.where(self.ring_cells(header), 255, 0)
        frame[-top : self.height - top, -left : self.width - left] = picture
        dictionary = cv2.aruco.getPredefinedDictionary(DICTIONARY)
        for number, (y, x) in zip(marker_ids(self.width, self.height), self.markers, strict=True):
            marker = cv2.aruco.generateImageMarker(dictionary, number, MODULES)
            frame[y - top :, x - left :][:MARKER, :MARKER] = marker.repeat(MODULE, 0).repeat(MODULE, 1)
        y, x, width = self.wedge
        if width:
            wedge = self.wedge_cells()
            frame[y - top :, x - left :][: wedge.shape[0], : wedge.shape[1]] = np.where(wedge, 255, 0)
        return frame
