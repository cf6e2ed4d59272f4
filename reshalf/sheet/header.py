"""What a sheet says about itself: its size in the ids of the markers, its place in the picture in the training ring."""

import binascii
import struct
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

CORNERS = 4
"""Markers of a sheet: 0 top left, 1 top right, 2 bottom right, 3 bottom left."""
SYMBOLS = 250
"""Values of a marker's symbol: a dictionary of 1000 markers has 250 for each corner."""
LARGEST = 3952
"""Pixels of a side: LARGEST² sizes fit into three symbols."""
MAX_SIDE = 65535
"""Pixels of a side of a picture on several sheets."""
_FORMAT = ">BBBBHBHHH"
HEADER_BITS = 8 * (struct.calcsize(_FORMAT) + 2)


class Header(NamedTuple):
    """Place of a sheet in its picture, and how it was printed.

    row, column    of the sheet, from 0
    rows, columns  of all sheets of the picture
    picture        number of 16 bits that all sheets of a picture share
    cell, dpi      printer dots along the side of a pixel, and dots per inch
    width, height  of the whole picture in pixels
    """

    row: int
    column: int
    rows: int
    columns: int
    picture: int
    cell: int
    dpi: int
    width: int
    height: int

    @property
    def count(self) -> int:
        """Number of sheets of the picture."""
        return self.rows * self.columns

    @property
    def number(self) -> int:
        """Number of this sheet, from 1, row by row."""
        return self.row * self.columns + self.column + 1


def picture_number(halftone: np.ndarray) -> int:
    """A checksum of a picture's pixels, 16 bits, which distinguishes the sheets of several pictures."""
    return binascii.crc_hqx(np.packbits(halftone > 127).tobytes(), 0)


def pack_header(header: Header) -> np.ndarray:
    """The header and its CRC-16 as HEADER_BITS bits, bool. Raises struct.error where a number is too large."""
    data = struct.pack(_FORMAT, *header)
    data += binascii.crc_hqx(data, 0).to_bytes(2, "big")
    return np.unpackbits(np.frombuffer(data, np.uint8)).astype(bool)


def unpack_header(bits: np.ndarray) -> Header | None:
    """The header of `pack_header`; None where the checksum does not match."""
    data = np.packbits(bits).tobytes()
    if binascii.crc_hqx(data[:-2], 0) != int.from_bytes(data[-2:], "big"):
        return None
    return Header(*struct.unpack(_FORMAT, data[:-2]))


def marker_ids(width: int, height: int) -> list[int]:
    """Ids of the four markers of a sheet of width × height pixels, clockwise from the top left.

    An id is corner · SYMBOLS + symbol. Three symbols are the digits of the size, and all four sum to 0 modulo SYMBOLS,
    so any three markers give the size. Raises ValueError for sides outside 1 … LARGEST.
    """
    if not (1 <= width <= LARGEST and 1 <= height <= LARGEST):
        raise ValueError(f"a sheet has 1 to {LARGEST} pixels a side, not {width} × {height}")
    size = (width - 1) * LARGEST + height - 1
    digits = [size // SYMBOLS**place % SYMBOLS for place in range(CORNERS - 1)]
    return [corner * SYMBOLS + symbol for corner, symbol in enumerate([*digits, -sum(digits) % SYMBOLS])]


def size_of(symbols: Mapping[int, int]) -> tuple[int, int] | None:
    """Width and height in pixels of a sheet from the symbols of three or four corners; None where they do not agree."""
    missing = [corner for corner in range(CORNERS) if corner not in symbols]
    if len(missing) > 1 or (not missing and sum(symbols.values()) % SYMBOLS):
        return None
    symbols = dict(symbols) | dict.fromkeys(missing, -sum(symbols.values()) % SYMBOLS)
    width, height = divmod(sum(symbols[place] * SYMBOLS**place for place in range(CORNERS - 1)), LARGEST)
    return (width + 1, height + 1) if width < LARGEST else None
