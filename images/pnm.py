"""PAM (P7) and PFM (PF, Pf) files, the two of the PNM family that Pillow does not read, or only in part."""

import re
from math import prod

import numpy as np

from images.pixels import Refused, split, to_8bit

SIGNATURES = (b"P7\n", b"PF\n", b"Pf\n")
_LONGEST_HEADER = 4096


def header(data: bytes) -> tuple[tuple[int, int, int], np.dtype, int, int]:
    """Shape (H, W, C), type, largest value (0 for floats) and length of the header. Raises Refused if it is damaged.

    Sources: netpbm's pam(5); P. Debevec's description of PFM (rows from bottom to top, the sign of the scale is the
    byte order).
    """
    start = data[:_LONGEST_HEADER]
    if start.startswith(b"P7"):
        numbers = [
            re.search(rb"\n%s[ \t]+(\d+)[ \t]*\n" % key, start) for key in (b"HEIGHT", b"WIDTH", b"DEPTH", b"MAXVAL")
        ]
        end = re.search(rb"\nENDHDR[ \t]*\n", start)
        if end and all(numbers):
            *shape, largest = (int(number[1]) for number in numbers)
            if prod(shape) and 0 < largest < 65536:
                return tuple(shape), np.dtype(">u2" if largest > 255 else "u1"), largest, end.end()
    elif found := re.match(rb"P([Ff])\s+(\d+)\s+(\d+)\s+(-?)[\d.]+\s", start):
        shape = int(found[3]), int(found[2]), 3 if found[1] == b"F" else 1
        if prod(shape):
            return shape, np.dtype("<f4" if found[4] else ">f4"), 0, found.end()
    raise Refused("truncated or damaged (its header is not complete)")


def decode(data: bytes) -> tuple[np.ndarray, np.ndarray | None]:
    """Gray or BGR, and alpha or None, uint8. Raises Refused for a damaged file."""
    shape, dtype, largest, offset = header(data)
    if len(data) - offset < prod(shape) * dtype.itemsize:
        raise Refused("truncated or damaged (pixels are missing)")
    array = np.frombuffer(data, dtype, prod(shape), offset).reshape(shape)
    if not largest:
        array = np.ascontiguousarray(array[::-1], np.float32)
    elif largest in (255, 65535):
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    else:
        array = array.clip(0, largest).astype(np.float32) / np.float32(largest)
    colour, alpha = split(to_8bit(array), bgr=False)
    return colour, alpha
