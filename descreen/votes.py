"""Votes of the blocks of a scan for the screens that they see, and connected groups of equal votes."""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import label

from descreen.screen_finder import strongest_screen

BLOCK, BLOCK_STEP = 128, 64
"""Side and distance of the voting blocks, pixels."""
SAME_PITCH = 0.01
"""Maximal relative difference between the pitches of a region's votes."""
MIN_DETAIL = 10.0
"""Levels; blocks of a lower standard deviation are blank."""
FM_DOTS, FM_MEDIAN, DOT_CONTRAST = 0.05, 0.04, 10.0
"""Dots per pixel of an FM halftone, black or white, whichever are more; their median over a scan that is one FM
halftone; and the least distance of a dot from the local mean in levels. Scans blurred with a σ of 0.8 pixels have 0.06
to 0.09 in the middle tones, sharper ones 0.1 to 0.15, text 0.01 to 0.03."""
FINE, MAX_KURTOSIS, MAX_TEXTURE = (0.6, 1.0), 4.2, 15.0
"""The dots of an FM halftone are alike, grains of sand and blades of grass are not: σ in pixels of the Gaussians whose
difference is the fine detail, its greatest kurtosis in an FM halftone, and the standard deviation in levels above which
it is one at any kurtosis. In 90 % of the blocks with that many dots, the kurtosis is 1.6 to 3.9 on scans of FM
halftones with a blur of up to 0.8 pixels, and 3.9 to 7.8 on photographs."""
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

    0 where the fine detail is as uneven as that of a photograph.
    """
    levels = gray.astype(np.float32)
    square = np.square(np.subtract(*(cv2.GaussianBlur(levels, (0, 0), sigma) for sigma in FINE)))
    power = square.mean()
    if power < MAX_TEXTURE**2 and np.square(square).mean() > MAX_KURTOSIS * power**2:
        return 0.0
    plane = cv2.GaussianBlur(levels, (0, 0), 0.4)  # adjoining dots of a bilevel image become peaks
    deviation, around = plane - cv2.blur(plane, (5, 5)), np.ones((3, 3), np.uint8)
    around[1, 1] = 0
    white = (plane > cv2.dilate(plane, around)) & (deviation > DOT_CONTRAST)
    black = (plane < cv2.erode(plane, around)) & (deviation < -DOT_CONTRAST)
    return float(max(white.mean(), black.mean()))


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
