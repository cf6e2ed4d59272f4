"""A pilot: a faint pattern in a halftone that tells where its rows and columns began, and which are the rows.

What rides on carriers at the Nyquist frequencies (halftone/composite.py) comes back only if the parities of the pixels
are known, and which way is up: an odd crop, a mirror or a quarter turn changes them. The pilot is a pattern whose
frequencies lie where neither the eye nor a demodulator looks: (1/4, 1/2) and (1/2, 1/4) cycles per pixel, which tell
the parities, and (3/8, 1/4), which a quarter turn makes (1/4, 3/8). A halftone has so many pixels that a bias of a few
hundredths, spread over all of them, stands far above chance.
"""

from typing import NamedTuple

import numpy as np

PERIOD = 8
CERTAIN = 5.0
"""Standard deviations above chance from which on a pilot is believed, and that it was turned."""


def _pattern() -> np.ndarray:
    """One period, (PERIOD, PERIOD) float32, of three waves, half of the power in the last, mean square 1 together.

    All factors are even functions, so mirroring shifts it as it shifts the carriers.
    """
    quarter, eighths, nyquist = (np.cos(2 * np.pi * k / PERIOD * np.arange(PERIOD)) for k in (2, 3, 4))
    waves = np.outer(quarter, nyquist) + np.outer(nyquist, quarter) + 2 * np.outer(eighths, quarter)
    return (waves / np.sqrt((waves**2).mean())).astype(np.float32)


PATTERN = _pattern()
SHIFTED = np.array([[np.roll(PATTERN, (-y, -x), (0, 1)) for x in range(PERIOD)] for y in range(PERIOD)])
"""The pattern as it is seen by where it began, (PERIOD, PERIOD, PERIOD, PERIOD)."""


class Origin(NamedTuple):
    """Where a halftone's pixels were in the image that it was cut from.

    turned       whether its rows were columns
    row, column  the parity that its top left pixel had there
    """

    turned: bool
    row: int
    column: int


UNKNOWN = Origin(False, 0, 0)


def pilot_wave(shape: tuple[int, int], top: int = 0) -> np.ndarray:
    """(H, W) float32 of the pilot, mean square 1; its rows begin at row `top` of the whole image."""
    height, width = shape
    rows, columns = np.arange(top, top + height) % PERIOD, np.arange(width) % PERIOD
    return PATTERN[np.ix_(rows, columns)]


def origin(halftone: np.ndarray) -> Origin:
    """What its pilot tells of (H, W) uint8 in {0, 255}.

    UNKNOWN where no pilot stands out: nothing was cut, there is none, or too little is left of it.
    """
    if min(halftone.shape) < PERIOD:
        return UNKNOWN
    columns = [(halftone[row::PERIOD] > 127).mean(axis=0) for row in range(PERIOD)]  # whole rows first, as they lie
    means = np.array([[column[start::PERIOD].mean() for start in range(PERIOD)] for column in columns]) * 2 - 1
    upright, turned = _likeness(means, halftone.size), _likeness(means.T, halftone.size)
    # Both ways have half of the pilot in common, so chance moves the difference by as much as either.
    is_turned = turned.max() - upright.max() > CERTAIN
    likeness = turned if is_turned else upright
    row, column = np.unravel_index(likeness.argmax(), likeness.shape)
    return Origin(bool(is_turned), int(row) % 2, int(column) % 2) if likeness[row, column] > CERTAIN else UNKNOWN


def _likeness(means: np.ndarray, pixels: int) -> np.ndarray:
    """How far above chance the pilot stands in (PERIOD, PERIOD) means of so many pixels, by where they began."""
    return np.tensordot(SHIFTED, means, 2) / PERIOD**2 * np.sqrt(pixels)
