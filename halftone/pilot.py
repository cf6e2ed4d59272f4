"""A pilot: a faint pattern in a halftone that tells where its rows and columns began.

What rides on carriers at the Nyquist frequencies (halftone/composite.py) comes back only if the parities of the pixels
are known, and an odd crop or a mirror changes them. The pilot is a pattern of period 4 whose two frequencies,
(1/4, 1/2) and (1/2, 1/4) cycles per pixel, lie where neither the eye nor a demodulator looks. A halftone has so many
pixels that a bias of a few hundredths, spread over all of them, stands far above chance.
"""

import numpy as np

LINE, SIGNS = np.array([1, 0, -1, 0]), np.array([1, -1, 1, -1])
PATTERN = (LINE[:, None] * SIGNS + SIGNS[:, None] * LINE).astype(np.float32)
"""One period, mean square 1. Both factors are even functions, so mirroring shifts it as it shifts the carriers."""
CERTAIN = 5.0
"""Standard deviations above chance from which on a pilot is believed."""


def pilot_wave(shape: tuple[int, int], top: int = 0) -> np.ndarray:
    """(H, W) float32 of the pilot, in {-2, -1, 0, 1, 2}; its rows begin at row `top` of the whole image."""
    height, width = shape
    rows, columns = np.arange(top, top + height) % 4, np.arange(width) % 4
    return PATTERN[np.ix_(rows, columns)]


def origin_parity(halftone: np.ndarray) -> tuple[int, int]:
    """Row and column parity that the top left pixel of (H, W) uint8 in {0, 255} had in the image that it was cut from.

    (0, 0) where no pilot stands out: nothing was cut, there is none, or too little is left of it.
    """
    if min(halftone.shape) < 4:
        return 0, 0
    columns = [(halftone[row::4] > 127).mean(axis=0) for row in range(4)]  # whole rows first: memory in its order
    means = np.array([[column[start::4].mean() for start in range(4)] for column in columns]) * 2 - 1
    shifted = [[np.roll(PATTERN, (-row, -column), (0, 1)) for column in range(4)] for row in range(4)]
    likeness = np.tensordot(shifted, means, 2) / 16 * np.sqrt(halftone.size)
    row, column = np.unravel_index(likeness.argmax(), likeness.shape)
    return (int(row) % 2, int(column) % 2) if likeness[row, column] > CERTAIN else (0, 0)
