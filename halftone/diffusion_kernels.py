"""Error-diffusion kernels, drawn as in the literature: X is the current pixel, numbers are its neighbours' shares."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Kernel:
    """Shares of the error of the pixels to the right and below, for a row scanned left to right.

    tone_bound  as in `methods.Method`
    """

    drawing: str
    divisor: int
    source: str
    tone_bound: float = 1.5

    @cached_property
    def weights(self) -> np.ndarray:
        """float32 (rows, 2 radius + 1): the shares; the current pixel is [0, radius], with share 0."""
        cells = [line.split() for line in self.drawing.strip().splitlines()]
        middle = cells[0].index("X")
        radius = max(middle, len(cells[0]) - 1 - middle)
        weights = np.zeros((len(cells), 2 * radius + 1), np.float32)
        for row, line in enumerate(cells):
            for column, cell in enumerate(line):
                if cell not in ".X":
                    weights[row, column + radius - middle] = np.float32(int(cell) / self.divisor)
        weights.setflags(write=False)
        return weights


KERNELS: dict[str, Kernel] = {
    "floyd_steinberg": Kernel(
        """
        . X 7
        3 5 1
        """,
        16,
        "R. Floyd, L. Steinberg: An adaptive algorithm for spatial greyscale, Proc. SID 17(2), 1976",
    ),
    "jarvis_judice_ninke": Kernel(
        """
        . . X 7 5
        3 5 7 5 3
        1 3 5 3 1
        """,
        48,
        "J. Jarvis, C. Judice, W. Ninke: A survey of techniques for the display of continuous tone pictures, "
        "CGIP 5, 1976",
    ),
    "stucki": Kernel(
        """
        . . X 8 4
        2 4 8 4 2
        1 2 4 2 1
        """,
        42,
        "P. Stucki: MECCA, a multiple-error correcting computation algorithm, IBM Research Report RZ1060, 1981",
    ),
    "burkes": Kernel(
        """
        . . X 8 4
        2 4 8 4 2
        """,
        32,
        "D. Burkes: Presentation of the Burkes error filter, LIB 15, CompuServe, 1988",
    ),
    "sierra": Kernel(
        """
        . . X 5 3
        2 4 5 4 2
        . 2 3 2 .
        """,
        32,
        "F. Sierra, LIB 17, CompuServe, 1989",
    ),
    "sierra_two_row": Kernel(
        """
        . . X 4 3
        1 2 3 2 1
        """,
        16,
        "F. Sierra, LIB 17, CompuServe, 1990",
    ),
    "sierra_lite": Kernel(
        """
        . X 2
        1 1 .
        """,
        4,
        "F. Sierra, LIB 17, CompuServe, 1990",
    ),
    "shiau_fan_4": Kernel(
        """
        . . X 4
        1 1 2 .
        """,
        8,
        "J. Shiau, Z. Fan: US patent 5353127, 1994, and Proc. SPIE 2658, 1996",
    ),
    "shiau_fan_5": Kernel(
        """
        . . . X 8
        1 1 2 4 .
        """,
        16,
        "J. Shiau, Z. Fan: A set of easily implementable coefficients in error diffusion with reduced worm artifacts, "
        "Proc. SPIE 2658, 1996",
    ),
    "atkinson": Kernel(
        """
        . . X 1 1
        . 1 1 1 .
        . . 1 . .
        """,
        8,
        "B. Atkinson, Apple, about 1984; distributes 6/8 of the error, so tones near black and white clip",
        tone_bound=35.0,
    ),
}
