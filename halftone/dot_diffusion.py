"""Dot diffusion: error diffusion in the order of a class matrix, which keeps the error local."""

import numpy as np
from numba import njit

from halftone.checks import as_gray

# D. Knuth, Digital halftones by dot diffusion, ACM Trans. Graphics 6(4), 1987.
KNUTH = """
    34 48 40 32 29 15 23 31
    42 58 56 53 21  5  7 10
    50 62 61 45 13  1  2 18
    38 46 54 37 25 17  9 26
    28 14 22 30 35 49 41 33
    20  4  6 11 43 59 57 52
    12  0  3 19 51 63 60 44
    24 16  8 27 39 47 55 36
"""
# M. Mese, P. Vaidyanathan, Optimized halftoning using dot diffusion, IEEE Trans. Image Processing 9(4), 2000.
# Both matrices follow the transcriptions in public implementations.
MESE_8 = """
    47 31 51 24 27 45  5 21
    37 63 53 11 22  4  1 33
    61  0 57 16 26 29 46  8
    20 14  9 62 18 41 38  6
    17 13 25 15 55 48 52 58
     3  7  2 32 30 34 56 60
    28 40 36 39 49 43 35 10
    54 23 50 12 42 59 44 19
"""
MESE_16 = """
    207   0  13  17  28  55  18 102  81  97  74 144 149 169 170 172
      3   6  23  36  56  50  65  87 145 130 137 158 182 184 195 221
      7  14  24  37  67  69  86   5 106 152 150 165 183 192 224   1
     15  26  43  53  51 101 115 131 139 136 166 119 208 223 226   4
     22  39  52  71  84 103 164 135 157 173 113 190 222 225 227  16
     40  85  72  83 104 117 167 133 168 180 200 219 231 228  12  21
     47 120  54 105 123 132 146 176 179 202 220 230 245   2  20  41
     76  73 127 109 138 134 178 181 206 196 229 244 246  19  42  49
     80  99 112 147 142 171 177 203 218 232 243 248 247  33  48  68
    108 107 140 143 185 163 204 217 233 242 249 255  44  45  70  79
    110 141  88  75 175 205 214 234 241 250 254  38  46  77 116 100
    111 148 160 174 201 215 235 240 251 252 253  61  62  93  94 125
    151 159 189 199 197 216 236 239  25  31  60  82  92  95 124 114
    156 188 191 209 213 237 238  29  32  59  64  91 118  78 128 155
    187 194 198 212   9  10  30  35  58  63  90  96 122 129 154 161
    193 210 211   8  11  27  34  57  66  89  98 121 126 153 162 186
"""
CLASSES = {
    name: np.array([line.split() for line in drawing.strip().splitlines()], np.int32)
    for name, drawing in {"knuth": KNUTH, "mese_8": MESE_8, "mese_16": MESE_16}.items()
}


def dot_diffusion(gray: np.ndarray, *, classes: str = "knuth") -> np.ndarray:
    """Process pixels class by class and diffuse errors to neighbours of higher classes; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. classes: a name in CLASSES, which holds the sources.
    Of the up to eight neighbours of higher class, horizontal and vertical ones get twice the share of diagonal ones;
    without such a neighbour the error is discarded. float32, white if level > 127.5.
    Raises TypeError or ValueError for a wrong dtype, shape or range, KeyError for unknown classes.
    """
    if classes not in CLASSES:
        raise KeyError(f"unknown classes {classes!r}, known: {', '.join(CLASSES)}")
    matrix = CLASSES[classes]
    level = np.pad(as_gray(gray).astype(np.float32), 1)
    return _diffuse(level, *_schedule(matrix))


def _schedule(classes: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the side of the matrix, the position (n, 2) of each class and the shares (n, 3, 3) of its neighbours."""
    size = len(classes)
    positions = np.argwhere(classes >= 0)[np.argsort(classes, axis=None)]
    around = np.pad(classes, 1, mode="wrap")
    shares = np.zeros((size * size, 3, 3), np.float32)
    for rank, (y, x) in enumerate(positions):
        shares[rank] = np.where(around[y : y + 3, x : x + 3] > rank, [[1, 2, 1], [2, 0, 2], [1, 2, 1]], 0)
    return size, positions, shares


@njit(cache=True, nogil=True)
def _diffuse(level, size, positions, shares):
    """Halftone `level`, which has a margin of one pixel for errors diffused beyond the border."""
    height, width = level.shape[0] - 2, level.shape[1] - 2
    out = np.empty((height, width), np.uint8)
    for rank in range(len(positions)):
        top, left = positions[rank]
        share = shares[rank]
        whole = share.sum()
        for y in range(top, height, size):
            for x in range(left, width, size):
                value = level[y + 1, x + 1]
                white = value > np.float32(127.5)
                out[y, x] = 255 if white else 0
                error = value - (np.float32(255) if white else np.float32(0))
                total = whole
                if y == 0 or x == 0 or y == height - 1 or x == width - 1:
                    first_row, last_row = 1 - min(y, 1), 1 + min(height - 1 - y, 1)
                    first, last = 1 - min(x, 1), 1 + min(width - 1 - x, 1)
                    total = share[first_row : last_row + 1, first : last + 1].sum()
                if total > 0:
                    error /= total
                    for i in range(3):
                        for j in range(3):
                            level[y + i, x + j] += error * share[i, j]
    return out
