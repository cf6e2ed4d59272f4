"""Votes of the blocks of a scan for the screens that they see, and connected groups of equal votes."""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import label

from descreen.lattice import mean_power
from descreen.screen_finder import strongest_screen

BLOCK, BLOCK_STEP = 128, 64
"""Side and distance of the voting blocks, pixels."""
SAME_PITCH = 0.01
"""Maximal relative difference between the pitches of a region's votes."""
MIN_SIDE = 32
"""Pixels; no FM halftone is recognised in a smaller scan."""
MIN_DETAIL = 10.0
"""Levels; blocks of a lower standard deviation are blank."""
FM_DOTS, FM_MEDIAN, DOT_CONTRAST = 0.05, 0.04, 10.0
"""Dots per pixel of an FM halftone, black or white, whichever are more; their median over a scan that is one FM
halftone; and the least distance of a dot from the local mean in levels. Scans blurred with a σ of 0.8 pixels have 0.06
to 0.09 in the middle tones, sharper ones 0.1 to 0.15, text 0.01 to 0.03, small print as many as FM halftones."""
FINE, RINGS, SECTORS = (0.6, 1.0), (0.1875, 0.28125, 0.375), 8
RISE, KURTOSIS, ANISOTROPY, MIN_SCORE = 3.0, -6.0, -4.0, -12.5
"""The dots of an FM halftone are alike, scattered in all directions, and dense at high frequencies; strokes of letters
and engravings, grains of sand and blades of grass are not. Weights of three logarithms, and their least sum in an FM
halftone: the power between the last two RINGS relative to that between the first two, cycles per pixel; the kurtosis of
the fine detail, the difference of Gaussians with a σ of FINE pixels; and the ratio of the strongest to the weakest of
SECTORS directions beyond the first ring. Found by linear discriminant analysis (docs/experiments.md)."""
LINES, MAX_PEAK = (0.05, 0.2), 110.0
"""Lines of text repeat: frequencies in cycles per pixel, and the ratio of the strongest to their mean power, which is
lower in 99 % of the blocks of FM halftones."""
FM = 1.0
"""Vote for an FM halftone; pitches are larger."""


class Votes(NamedTuple):
    """Votes of the blocks of a scan, arrays (rows, columns)."""

    pitch: np.ndarray  # of a dot screen, FM, or 0
    line: np.ndarray  # pitch of a line screen, or 0
    dots: np.ndarray  # per pixel, see FM_DOTS
    blank: np.ndarray


def votes_of(bgr: np.ndarray) -> Votes:
    """Votes of the blocks of (H, W, 3) BGR uint8; a smaller scan is one block."""
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    tops, lefts = (range(0, max(side - BLOCK, 0) + 1, BLOCK_STEP) for side in gray.shape)
    pitch, line, dots = (np.zeros((len(tops), len(lefts)), np.float32) for _ in range(3))
    blank = np.zeros(pitch.shape, bool)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            block = gray[top : top + BLOCK, left : left + BLOCK]
            blank[row, column] = block.std() < MIN_DETAIL
            if blank[row, column]:
                continue
            screen = strongest_screen(block)
            if screen is not None and screen.is_line:
                line[row, column] = screen.pitch
            elif screen is not None:
                pitch[row, column] = screen.pitch
            dots[row, column] = _dots(block)
            if not pitch[row, column] and dots[row, column] >= FM_DOTS:
                pitch[row, column] = FM
    near_dots = cv2.dilate((pitch > FM).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    pitch[near_dots & (pitch == FM)] = 0
    return Votes(pitch, line, dots, blank)


def _dots(gray: np.ndarray) -> float:
    """Isolated dots per pixel of (h, w) uint8, black or white, whichever are more: extrema among their 8 neighbours.

    0 where they are not those of an FM halftone.
    """
    levels = gray.astype(np.float32)
    plane = cv2.GaussianBlur(levels, (0, 0), 0.4)  # adjoining dots of a bilevel image become peaks
    deviation, around = plane - cv2.blur(plane, (5, 5)), np.ones((3, 3), np.uint8)
    around[1, 1] = 0
    white = (plane > cv2.dilate(plane, around)) & (deviation > DOT_CONTRAST)
    black = (plane < cv2.erode(plane, around)) & (deviation < -DOT_CONTRAST)
    found = float(max(white.mean(), black.mean()))
    return found if found >= FM_MEDIAN and min(gray.shape) >= MIN_SIDE and _is_fm(levels) else 0.0


def _is_fm(levels: np.ndarray) -> bool:
    """Whether the detail of (h, w) float32 may be an FM halftone's, see MIN_SCORE."""
    square = np.square(np.subtract(*(cv2.GaussianBlur(levels, (0, 0), sigma) for sigma in FINE)))
    kurtosis = np.square(square).mean() / square.mean() ** 2
    side = min(levels.shape)
    power = mean_power(levels, side, BLOCK_STEP)
    lines, rings, sectors = _frequencies(side)
    if power[lines].max() > MAX_PEAK * power[lines].mean():
        return False
    low, high = (power[rings == number].mean() for number in (1, 2))
    directions = [power[sectors == number].mean() for number in range(SECTORS)]
    rise, anisotropy = high / low, max(directions) / min(directions)
    return RISE * np.log(rise) + KURTOSIS * np.log(kurtosis) + ANISOTROPY * np.log(anisotropy) >= MIN_SCORE


@cache
def _frequencies(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each coefficient of a Fourier transform, (side, side).

    Whether it is among LINES, the number of RINGS that it is beyond, and its sector beyond the first or -1.
    """
    across, down = np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))
    radius, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    sectors = np.minimum(angle * SECTORS / np.pi, SECTORS - 1).astype(int)
    lines = (radius > LINES[0]) & (radius < LINES[1])
    return lines, np.digitize(radius, RINGS), np.where((radius > RINGS[0]) & (radius < 0.5), sectors, -1)


def connected_groups(votes: np.ndarray) -> list[np.ndarray]:
    """Connected groups of equal votes, masks (rows, columns)."""
    left, groups = votes, []
    while left.any():
        pitch = left.max()
        labels, _ = label(np.abs(left - pitch) < SAME_PITCH * pitch, np.ones((3, 3)))
        for number in np.unique(labels[left == pitch]):
            group = labels == number
            left = np.where(group, 0, left)
            groups.append(group)
    return groups
