"""A pilot signal: a faint periodic pattern in a halftone, from which crops, mirror images, quarter turns and inversion
are detected.

Chroma on carriers at the Nyquist frequencies (model/composite.py) can be demodulated only with the right row and column
parities and orientation, which an odd crop, a mirror image or a quarter turn changes. The pilot has its power at
frequencies outside both the eye's and the demodulator's passband: (1/4, 1/2) and (1/2, 1/4) cycles per pixel, which
identify the parities, and (3/8, 1/4), which a quarter turn maps to (1/4, 3/8). Correlated over all pixels of a
halftone, a bias of a few hundredths is far above chance.
"""

from typing import NamedTuple

import cv2
import numpy as np

PERIOD = 8
MIN_SCORE = 5.0
"""Detection threshold in standard deviations of a random halftone, for the pilot and for a quarter turn."""
MAX_NOISE = 90.0
"""Power of a halftone without regular structure at the 48 other frequencies of period 8; 48 for white noise."""
MIN_AMPLITUDE = 0.06
"""Amplitude of the pilot relative to the headroom 1 - Y²: 0.06 to 0.19 in halftones of test_imgs/."""


def _pattern() -> np.ndarray:
    """One period, (PERIOD, PERIOD) float32 of mean square 1: three waves, the last with half of the power.

    All factors are even functions, so mirroring shifts the pattern as it shifts the carriers.
    """
    quarter, eighths, nyquist = (np.cos(2 * np.pi * k / PERIOD * np.arange(PERIOD)) for k in (2, 3, 4))
    waves = np.outer(quarter, nyquist) + np.outer(nyquist, quarter) + 2 * np.outer(eighths, quarter)
    return (waves / np.sqrt((waves**2).mean())).astype(np.float32)


PATTERN = _pattern()
SHIFTED = np.array([[np.roll(PATTERN, (-y, -x), (0, 1)) for x in range(PERIOD)] for y in range(PERIOD)])
"""The pattern at every phase (y, x), (PERIOD, PERIOD, PERIOD, PERIOD)."""


class Origin(NamedTuple):
    """Orientation and parities of a halftone relative to the image from which it was cut.

    transposed   whether rows and columns are exchanged
    row, column  parity of the top left pixel in that image
    """

    transposed: bool
    row: int
    column: int


UNKNOWN = Origin(False, 0, 0)


def pilot_wave(shape: tuple[int, int], top: int = 0) -> np.ndarray:
    """The pilot, (H, W) float32 of mean square 1; its first row is row `top` of the whole image."""
    height, width = shape
    rows, columns = np.arange(top, top + height) % PERIOD, np.arange(width) % PERIOD
    return PATTERN[np.ix_(rows, columns)]


class Finding(NamedTuple):
    """What a halftone shows of the pilot.

    present   it carries the pilot, upright or inverted
    expected  a halftone with a pilot would show it: enough pixels are neither in black nor in white areas
    inverted  evidence that black and white are swapped: the difference of the squared scores, twice the logarithm of
              the likelihood ratio; above MIN_SCORE² it is certain, below 0 the halftone is as it was made
    """

    present: bool
    expected: bool
    inverted: float


def detect_pilot(halftone: np.ndarray) -> Finding:
    """Search (H, W) uint8 in {0, 255} for the pilot and for the inverted pilot, in both orientations.

    Ordered dithers and screens of period 8 also correlate with the pilot, but have more power at other frequencies.
    """
    if min(halftone.shape) < PERIOD:
        return Finding(False, False, 0.0)
    means = _phase_means(halftone)
    scores = np.stack([_scores(means, halftone.size), _scores(means.T, halftone.size)])
    upright, inverted = scores.max(), -scores.min()
    power = np.abs(np.fft.fft2(means) / PERIOD**2) ** 2 * halftone.size
    # Stripes and the carriers of chroma lie on the axes and at (1/2, 1/2).
    elsewhere = power[1:, 1:].sum() - power[PERIOD // 2, PERIOD // 2] - max(upright, inverted) ** 2
    present = max(upright, inverted) > MIN_SCORE and elsewhere < max(upright, inverted) ** 2 + MAX_NOISE
    rows, columns = (side // PERIOD * PERIOD for side in halftone.shape)
    local = cv2.resize(halftone[:rows, :columns], None, fx=1 / PERIOD, fy=1 / PERIOD, interpolation=cv2.INTER_AREA)
    headroom = 1 - np.mean((local / 127.5 - 1) ** 2)
    expected = MIN_AMPLITUDE * headroom * np.sqrt(halftone.size) > MIN_SCORE
    return Finding(bool(present), bool(expected), float(inverted**2 - upright**2))


def detect_origin(halftone: np.ndarray) -> Origin:
    """Detect the pilot in (H, W) uint8 in {0, 255}; UNKNOWN where no phase scores above MIN_SCORE."""
    if min(halftone.shape) < PERIOD:
        return UNKNOWN
    means = _phase_means(halftone)
    upright, transposed = _scores(means, halftone.size), _scores(means.T, halftone.size)
    # Half of the pilot is common to both orientations, so the difference has about the deviation of either score.
    is_transposed = transposed.max() - upright.max() > MIN_SCORE
    scores = transposed if is_transposed else upright
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    return Origin(bool(is_transposed), int(row) % 2, int(column) % 2) if scores[row, column] > MIN_SCORE else UNKNOWN


def _phase_means(halftone: np.ndarray) -> np.ndarray:
    """(PERIOD, PERIOD) means, in -1..1, of the pixels of each phase."""
    columns = [(halftone[row::PERIOD] > 127).mean(axis=0) for row in range(PERIOD)]  # rows first: contiguous in memory
    return np.array([[column[start::PERIOD].mean() for start in range(PERIOD)] for column in columns]) * 2 - 1


def _scores(means: np.ndarray, pixels: int) -> np.ndarray:
    """Correlation of (PERIOD, PERIOD) phase means with the pilot at every phase, in standard deviations of chance."""
    return np.tensordot(SHIFTED, means, 2) / PERIOD**2 * np.sqrt(pixels)
