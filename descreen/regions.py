"""Regions of a scan that carry a halftone screen; the text, line art and paper beside them do not.

A region is found in two steps. Blocks whose spectrum has the peaks of a dot or line screen vote for its pitch, and
blocks as rough as a stochastic (FM) halftone for that: a picture is a connected group of equal votes, while letters
vote at random and hatchings have one tone. Around such a group, the local amplitude of its screens then gives the mask.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes, label

from descreen.baselines import DEFAULT_PITCH
from descreen.screen_finder import Screen, common_pitch, find_screens
from descreen.votes import BLOCK, BLOCK_STEP, FM, FM_MEDIAN, MIN_DETAIL, SAME_PITCH, Votes, connected_groups, votes_of
from descreen.waves import STEP, local_amplitude
from utils.tiling import windows

MIN_BLOCKS, MIN_LINE_BLOCKS, MIN_FM_BLOCKS = 4, 6, 9
"""Votes of a region with a dot screen, with a line screen, and of an FM halftone."""
MIN_ANGLE, MIN_ALIGNED_AMPLITUDE, MIN_ALIGNED_SHARE = 1.5, 10.0, 0.2
"""Degrees; dot screens closer to the axes need MIN_FM_BLOCKS votes, this amplitude in levels, and this one relative to
the standard deviation: letters, tables, JPEG blocks and the edges in bilevel scans repeat along the axes."""
MIN_LINE_ANGLE = 5.0
"""Degrees; line screens closer to the axes are refused: tables and bar codes are scanned at a slight angle."""
LINE_SHARE = 0.7
"""Share of a scan's blocks that vote for its line screen, if it is one picture."""
LINE_TONES, LINE_MARGIN = 12.0, 16
"""Levels: difference of the 10th and 90th percentiles of the tone inside a picture with a line screen, LINE_MARGIN
pixels from its border. Hatchings have one tone."""
AMPLITUDE_SIGMA = 8.0
"""σ in pixels of the window in which a screen's amplitude is measured."""
MIN_AMPLITUDE, MIN_SHARE = 1.2, 0.25
"""Amplitude of a screen inside its region: levels, and share of the upper quartile over the votes."""
FAINT_SHARE, LEAK = 0.08, 24
"""In bright sky dots are faint: this share of the upper quartile is enough there. It is also exceeded beyond the last
dots, as far as the window of the amplitude reaches, and so it is not enough within LEAK pixels of less."""
SMALLEST, GROWN, FEATHER = 64, 8, 3.0
"""Pixels: the smallest side of a region, its border beyond the last dots, and σ of its soft edge."""
INK_CONTRAST, MAX_INK, MAX_INK_OF_BOX = 30.0, 0.25, 0.04
"""The rest of a mask's bounding box belongs to its picture, most of which are rectangles, unless letters or lines fill
more than MAX_INK of it or MAX_INK_OF_BOX of the box: without the dots a local deviation of INK_CONTRAST levels.
They stand on paper: darker parts belong to the picture."""
DEVIATION_SIDE, TILE = 15, 1024
"""Pixels: side of the window of a local standard deviation, and of the tiles in which it is computed."""
UNSCREENED = 0.02
"""A scan with a smaller share of detail outside its only region is one picture, and restored as a whole."""

TINT = (255, 160, 80)
"""BGR of what `overlay` covers."""

Box = tuple[slice, slice]


class Region(NamedTuple):
    """A screened part of a scan."""

    box: Box  # rows and columns
    mask: np.ndarray  # weight of the restoration inside the box, uint8 (h, w): 0 untouched, 255 restored
    screens: dict[str, Screen]  # by ink; empty for FM halftones
    belief: float | None = None  # in process inks (descreen/inks.py); None: not asked

    def covers(self, shape: tuple[int, ...]) -> bool:
        """Whether its box is the whole scan, of this shape."""
        return self.mask.shape == shape[:2]


def find_regions(bgr: np.ndarray) -> list[Region]:
    """Screened regions of a scan, (H, W, 3) BGR uint8, from top to bottom; empty without any.

    A scan of a single picture is one region with a mask of 255.
    """
    votes = votes_of(bgr)
    found = []
    for group in connected_groups(votes.line):
        if (region := _line_region(bgr, group)) is not None:
            found.append(region)
            votes.pitch[group & (votes.pitch == FM)] = 0  # lines are as rough as FM dots
    found += [_region(bgr, votes, group) for group in connected_groups(votes.pitch)]
    regions = _distinct([region for region in found if region is not None])
    if not regions:
        screens = find_screens(bgr)
        return [_whole(bgr, screens)] if _covers(screens, votes) else []
    if len(regions) == 1 and _is_one_picture(bgr, regions[0]):
        return [_whole(bgr, find_screens(bgr))]
    return regions


def coverage(regions: list[Region], shape: tuple[int, int]) -> np.ndarray:
    """The masks of all regions in one: uint8 (H, W)."""
    mask = np.zeros(shape, np.uint8)
    for region in regions:
        part = mask[region.box]
        np.maximum(part, region.mask[: part.shape[0], : part.shape[1]], out=part)
    return mask


def _distinct(regions: list[Region]) -> list[Region]:
    """The regions, without those that lie mostly in a larger one, from top to bottom."""
    kept: list[Region] = []
    for region in sorted(regions, key=lambda region: int(region.mask.sum(dtype=np.int64)), reverse=True):
        bottom, right = (part.stop for part in region.box)
        if all(
            (coverage([other], (bottom, right))[region.box][region.mask > 127] > 127).mean() < 0.5 for other in kept
        ):
            kept.append(region)
    return sorted(kept, key=lambda region: (region.box[0].start, region.box[1].start))


def overlay(bgr: np.ndarray, regions: list[Region]) -> np.ndarray:
    """The scan, (H, W, 3) BGR uint8, with everything outside the regions tinted blue; same shape and dtype."""
    outside = cv2.compare(coverage(regions, bgr.shape[:2]), 127, cv2.CMP_LE)
    tinted = cv2.addWeighted(bgr, 0.6, np.full_like(bgr, TINT), 0.4, 0)
    return np.where(outside[..., None] > 0, tinted, bgr)


def _region(bgr: np.ndarray, votes: Votes, group: np.ndarray) -> Region | None:
    """The region of a group of votes; None for few votes, and where their spectrum has no screen, or one of letters."""
    blocks, screens = group.sum(), {}
    is_fm = votes.pitch[group].max() == FM
    least = min(MIN_BLOCKS, max(1, np.count_nonzero(~votes.blank)))
    if blocks < (MIN_FM_BLOCKS if is_fm and least == MIN_BLOCKS else least):
        return None
    if not is_fm:
        screens = _screens_of(bgr, group)
        if not screens or any(screen.is_line for screen in screens.values()):
            return None
        if _is_aligned(screens) and (_is_weak(bgr, group, screens) or MIN_BLOCKS <= blocks < MIN_FM_BLOCKS):
            return None
    outer = _box(group, BLOCK_STEP, bgr.shape)
    return _cut(outer, _mask(bgr[outer], screens, _inside(group, outer)), screens)


def _line_region(bgr: np.ndarray, group: np.ndarray) -> Region | None:
    """The region of a group of votes for a line screen; None for few votes and for hatchings."""
    screens = _screens_of(bgr, group) if group.sum() >= MIN_LINE_BLOCKS else {}
    if not screens or not all(screen.is_line for screen in screens.values()) or _is_aligned(screens, MIN_LINE_ANGLE):
        return None
    outer = _box(group, BLOCK_STEP, bgr.shape)
    mask = _mask(bgr[outer], screens, _inside(group, outer))
    if mask is None:
        return None
    tone = cv2.cvtColor(cv2.GaussianBlur(bgr[outer], (0, 0), common_pitch(screens)), cv2.COLOR_BGR2GRAY)
    inner = cv2.erode((mask > 127).astype(np.uint8), np.ones((2 * LINE_MARGIN + 1,) * 2, np.uint8)) > 0
    if not inner.any() or np.subtract(*np.percentile(tone[inner], (90, 10))) < LINE_TONES:
        return None
    return _cut(outer, mask, screens)


def _screens_of(bgr: np.ndarray, group: np.ndarray) -> dict[str, Screen]:
    """Screens in the blocks of a group."""
    return find_screens(np.ascontiguousarray(bgr[_box(group, 0, bgr.shape)]))


def _cut(outer: Box, mask: np.ndarray | None, screens: dict[str, Screen]) -> Region | None:
    """The region of a mask over `outer`, without the empty rows and columns around it."""
    if mask is None:
        return None
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    box = tuple(
        slice(int(at.start + each.start), int(at.start + each.stop)) for at, each in zip(outer, part, strict=True)
    )
    return Region(box, np.ascontiguousarray(mask[part]), screens)


def _mask(bgr: np.ndarray, screens: dict[str, Screen], votes: np.ndarray) -> np.ndarray | None:
    """Mask uint8 (h, w) of the part of `bgr` with the screens, connected with the voting blocks; None without one.

    votes  bool (⌈h / STEP⌉, ⌈w / STEP⌉): inside a voting block
    """
    height, width = bgr.shape[:2]
    if screens:
        amplitude = local_amplitude(bgr, screens, AMPLITUDE_SIGMA)
        usual = np.percentile(amplitude[votes], 75)
        kept = _connected(amplitude > max(MIN_AMPLITUDE, MIN_SHARE * usual), votes)
    else:
        kept = _connected(votes, votes)
    if not kept.any():
        return None
    ink, gray = _ink(bgr, kept.shape, 0.4 * (common_pitch(screens) or DEFAULT_PITCH))
    if screens:
        faint = (amplitude > max(MIN_AMPLITUDE, FAINT_SHARE * usual)).astype(np.uint8)
        faint = cv2.erode(faint, np.ones((2 * LEAK // STEP + 1,) * 2, np.uint8)) > 0
        kept = _connected(_completed(kept, ink, gray) | faint, votes)
    grown = cv2.dilate(kept.astype(np.uint8), np.ones((2 * GROWN // STEP + 1,) * 2, np.uint8)) > 0
    completed = _completed(grown, ink, gray).astype(np.uint8) * np.uint8(255)
    whole = cv2.resize(completed, None, fx=STEP, fy=STEP, interpolation=cv2.INTER_NEAREST)[:height, :width]
    return cv2.GaussianBlur(whole, (0, 0), FEATHER, borderType=cv2.BORDER_REPLICATE)


def _connected(inside: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """The parts of `inside` that are large enough and connected with the voting blocks, without holes: bool arrays."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (SMALLEST // (2 * STEP) + 1,) * 2)
    opened = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)
    labels, count = label(opened)
    areas = np.bincount(labels[votes & (labels > 0)], minlength=count + 1)
    return binary_fill_holes(np.isin(labels, np.flatnonzero(areas * STEP**2 >= SMALLEST**2)))


def _ink(bgr: np.ndarray, shape: tuple[int, int], sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Share of letters and lines, and gray in levels, of each block of STEP² pixels: float32 of `shape`.

    sigma  of the blur that removes the dots, pixels
    """
    ink, gray = (np.empty(shape, np.float32) for _ in range(2))
    for core, window, inner in _tiles(bgr, math.ceil(3 * sigma) + DEVIATION_SIDE):
        smooth = cv2.GaussianBlur(bgr[window], (0, 0), sigma)
        blocks = tuple(slice(part.start // STEP, -(-part.stop // STEP)) for part in core)
        size = ink[blocks].shape[::-1]
        darkness = (_deviation(smooth)[inner] > INK_CONTRAST).astype(np.float32)
        ink[blocks] = cv2.resize(darkness, size, interpolation=cv2.INTER_AREA)
        gray[blocks] = cv2.resize(cv2.cvtColor(smooth, cv2.COLOR_BGR2GRAY)[inner], size, interpolation=cv2.INTER_AREA)
    return ink, gray


def _completed(mask: np.ndarray, ink: np.ndarray, gray: np.ndarray) -> np.ndarray:
    """The mask and the rest of its bounding box but letters on paper: bool arrays. ink, gray: of `_ink`."""
    rows, columns = np.nonzero(mask)
    box = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
    completed = mask.copy()
    labels, count = label(~completed[box])
    for number in range(1, count + 1):
        part = labels == number
        share = ink[box][part]
        has_ink = share.mean() >= MAX_INK or share.sum() >= MAX_INK_OF_BOX * part.size
        if not has_ink or gray[box][part].mean() < 128:
            completed[box] |= part
    return completed


def _covers(screens: dict[str, Screen], votes: Votes) -> bool:
    """Whether a scan without regions is one screened picture; `screens` were found in its whole spectrum."""
    filled = ~votes.blank
    if not screens:
        return bool(filled.any() and np.median(votes.dots[filled]) >= FM_MEDIAN)
    first = max(screens.values(), key=lambda screen: screen.strength)
    if first.is_line:
        share = (np.abs(votes.line / first.pitch - 1) < 2 * SAME_PITCH).mean()
        return bool(share >= LINE_SHARE and not _is_aligned(screens, MIN_LINE_ANGLE))
    return not _is_aligned(screens)


def _is_aligned(screens: dict[str, Screen], degrees: float = MIN_ANGLE) -> bool:
    """Whether all screens are parallel to the axes."""
    return all(min(screen.angle % 90, -screen.angle % 90) < degrees for screen in screens.values())


def _is_weak(bgr: np.ndarray, group: np.ndarray, screens: dict[str, Screen]) -> bool:
    """Whether the strongest screen of a group is too weak for one that is parallel to the axes."""
    gray = cv2.transform(bgr[_box(group, 0, bgr.shape)], np.full((1, 3), 1 / 3))
    contrast = cv2.meanStdDev(gray)[1].item()
    return max(screen.amplitude for screen in screens.values()) < max(
        MIN_ALIGNED_AMPLITUDE, MIN_ALIGNED_SHARE * contrast
    )


def _is_one_picture(bgr: np.ndarray, region: Region) -> bool:
    """Whether there is hardly any detail outside the region."""
    outside = coverage([region], bgr.shape[:2]) == 0
    details = sum(
        np.count_nonzero(outside[core] & (_deviation(bgr[window])[inner] > MIN_DETAIL))
        for core, window, inner in _tiles(bgr, DEVIATION_SIDE)
    )
    return details < UNSCREENED * outside.size


def _tiles(bgr: np.ndarray, margin: int) -> Iterator[tuple[Box, Box, Box]]:
    """Tiles of a scan, so that float planes stay small: core, core with a margin, and the core inside of that."""
    for core, window in windows(*bgr.shape[:2], TILE, margin):
        inner = (slice(at.start - near.start, at.stop - near.start) for at, near in zip(core, window, strict=True))
        yield core, window, tuple(inner)


def _deviation(bgr: np.ndarray) -> np.ndarray:
    """Standard deviation of the gray of (h, w, 3) in a window of DEVIATION_SIDE², levels: float32 (h, w)."""
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
    mean, square = (cv2.blur(plane, (DEVIATION_SIDE, DEVIATION_SIDE)) for plane in (gray, gray * gray))
    return np.sqrt(np.maximum(square - mean * mean, 0))


def _whole(bgr: np.ndarray, screens: dict[str, Screen]) -> Region:
    height, width = bgr.shape[:2]
    return Region((slice(0, height), slice(0, width)), np.full((height, width), 255, np.uint8), screens)


def _box(group: np.ndarray, margin: int, shape: tuple[int, ...]) -> Box:
    """Rows and columns of the scan that the group's blocks cover, `margin` pixels wider, from multiples of STEP on."""
    return tuple(
        slice(max(int(at.min()) * BLOCK_STEP - margin, 0), min(int(at.max()) * BLOCK_STEP + BLOCK + margin, side))
        for at, side in zip(np.nonzero(group), shape, strict=False)
    )


def _inside(group: np.ndarray, box: Box) -> np.ndarray:
    """Whether each block of STEP² pixels of `box` lies in a block of the group."""
    size = [-(-(part.stop - part.start) // STEP) for part in box]
    inside = np.zeros(size, bool)
    for row, column in np.argwhere(group):
        top, left = ((at * BLOCK_STEP - part.start) // STEP for at, part in zip((row, column), box, strict=True))
        inside[max(top, 0) : top + BLOCK // STEP, max(left, 0) : left + BLOCK // STEP] = True
    return inside
