"""Halftones that were changed on their way to the decoder: what is certain is undone, what is not becomes a warning.

Levels other than black and white, a uniform border, pixels repeated in a screenshot or an enlargement, black and white
swapped, and with a pilot any other scaling, turning or cutting out of a screenshot (reshalf/regrid.py). Crops, mirror
images and quarter turns need no repair (model/pilot.py: detect_origin).
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from images.files import GRAY_MARGIN, MAX_GRAY_SHARE, MAX_PIXELS, read_levels
from images.pixels import black_and_white
from images.resolution import Resolution
from model.pilot import MIN_SCORE, Finding, detect_pilot
from reshalf.regrid import Regridded, regrid
from utils.checks import check_pixels
from utils.errors import UserError, name_errors

BLACK_AND_WHITE = (0, 255)
MAX_REPEAT = 256
"""Largest number of repetitions of a pixel along an axis that is searched for."""
MIN_ALIGNED = 0.98
"""Share of all changes between adjacent lines that must lie on the borders of the repeated pixels."""
MIN_LINES = 16
"""Different lines along each axis, from which on the alignment of repeated pixels cannot be chance."""
MAX_FRAME = 0.125
"""Largest width of a frame relative to the image's shorter side; wider ones belong to the picture."""
MIN_CONTRAST = 0.1
"""Share of pixels of the other level in the first line within a frame; the margin of a page has paler lines."""
MIN_DOUBTFUL = 0.005
"""Share of uncertain pixels from which on a warning states it."""


class Repaired(NamedTuple):
    """A halftone (H, W) uint8 in {0, 255}, what was found and undone, and a warning; the texts are "" for nothing."""

    halftone: np.ndarray
    undone: str
    warning: str

    @property
    def remarks(self) -> tuple[str, ...]:
        """Both texts as remarks about the file, without empty ones."""
        return tuple(text for text in (self.undone and f"found and undone: {self.undone}", self.warning) if text)


class RepairedFile(NamedTuple):
    """A halftone (H, W) uint8 in {0, 255}, the file's resolution where it still holds, and lines for the user."""

    halftone: np.ndarray
    resolution: Resolution | None
    remarks: tuple[str, ...]


def repair_halftone(levels: np.ndarray, pilot: bool, invert: bool = False, force: bool = False) -> Repaired:
    """The halftone that `levels`, uint8 or bool (H, W) or BGR (H, W, 3), was made from.

    Two levels of any kind become black (0) and white (255); a uniform border of another level is removed. If each pixel
    is repeated k × l times, one of them is kept, and a frame around such an enlargement is removed. If the pilot is
    found inverted, black and white are swapped.

    pilot   whether halftones of the network carry the pilot; without it, inversion cannot be detected
    invert  swap black and white, whatever the pilot says
    force   accept images that are not halftones, thresholded at 128
    Raises ValueError, one line, for another array, and unless `force` for an image with more than 5 % of its pixels
    near neither of its two levels that has no grid either.
    """
    if isinstance(levels, np.ndarray) and levels.dtype == bool:
        levels = levels * np.uint8(255)
    check_pixels("a halftone", levels, 3 if np.ndim(levels) == 3 else 1)
    undone: list[str] = []
    halftone, warning = _on_its_grid(levels, pilot, force, undone)
    if invert:
        halftone = 255 - halftone
    if pilot:
        found = detect_pilot(halftone)
        if found.present and found.inverted > MIN_SCORE**2 and not invert:
            halftone = 255 - halftone
            undone.append("black and white swapped")
        else:
            warning = _warning(found, invert) or warning
    return Repaired(halftone, ", ".join(undone), warning)


def read_repaired(
    path: str | Path, pilot: bool, invert: bool = False, force: bool = False, *, max_pixels: int = MAX_PIXELS
) -> RepairedFile:
    """`repair_halftone` of a file. Raises UserError, one line that names the file and the reason."""
    levels, _, resolution, remarks = read_levels(path, max_pixels=max_pixels)
    try:
        with name_errors(path):
            repaired = repair_halftone(levels, pilot, invert, force)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if repaired.halftone.shape != levels.shape[:2]:  # of an enlargement or a screenshot
        resolution = None
    return RepairedFile(repaired.halftone, resolution, (*remarks, *repaired.remarks))


def _on_its_grid(levels: np.ndarray, pilot: bool, force: bool, undone: list[str]) -> tuple[np.ndarray, str]:
    """The halftone, and a warning if it is uncertain: pixel for pixel, or if it has no pilot then, by `regrid`."""
    steps: list[str] = []
    reason = None
    try:
        halftone = _without_repeats(_black_and_white(levels, force, steps), pilot, steps)
    except ValueError as error:
        halftone, reason = None, error
    if pilot and (halftone is None or _lacks_pilot(halftone)):
        gray = levels if levels.ndim == 2 else cv2.cvtColor(levels, cv2.COLOR_BGR2GRAY)
        found = regrid(gray)
        if found is not None:
            height, width = found.halftone.shape
            undone.append(_resampling(found) + f": now {width} × {height}")
            doubtful = f"{found.doubtful:.0%} of its pixels are uncertain" if found.doubtful >= MIN_DOUBTFUL else ""
            return found.halftone, doubtful
        if reason and not force:
            reason = ValueError(f"{reason}, and no grid of a scaled or turned halftone was found")
    if halftone is None:
        raise reason
    undone += steps
    return halftone, ""


def _lacks_pilot(halftone: np.ndarray) -> bool:
    found = detect_pilot(halftone)
    return found.expected and not found.present


def _resampling(found: Regridded) -> str:
    parts = []
    if max(abs(scale - 1) for scale in found.scales) >= 5e-4:
        parts.append("scaled by {:.3g} × {:.3g}".format(*found.scales))
    if abs(found.angle) >= 0.05:
        parts.append(f"turned by {found.angle:.1f}°")
    return " and ".join(parts) or "surroundings or gray pixels"


def _warning(found: Finding, invert: bool) -> str:
    if found.present and found.inverted > 0:
        if invert:
            return "its pilot says that black and white were not swapped before --invert; colours may be wrong"
        return "black and white may be swapped, too little of its pilot is left to be certain; --invert swaps them"
    if found.expected and not found.present:
        return "carries no pilot: made by another program, or changed; colours may be wrong"
    return ""


def _black_and_white(levels: np.ndarray, force: bool, undone: list[str]) -> np.ndarray:
    """Levels thresholded between the two main ones, (H, W) uint8 in {0, 255}, without a border of a third level."""
    if levels.ndim == 3 and not (levels[..., 1:] != levels[..., :1]).any():
        levels = levels[..., 0]
    gray = np.ascontiguousarray(levels) if levels.ndim == 2 else cv2.cvtColor(levels, cv2.COLOR_BGR2GRAY)
    low, high = _main_levels(gray)
    odd = _far_from(low, high)[gray]
    if levels.ndim == 3 and not _has_two_colours(levels):
        odd |= (levels.max(axis=2) > low + GRAY_MARGIN) & (levels.min(axis=2) < high - GRAY_MARGIN)
    inside = _within_border(gray, odd)
    share = np.count_nonzero(odd[inside]) / odd[inside].size
    if share > MAX_GRAY_SHARE and not force:
        raise ValueError(f"not a halftone: {share:.0%} of the pixels are neither black nor white")
    if share > MAX_GRAY_SHARE:
        return black_and_white(gray)
    if gray[inside].shape != gray.shape:
        undone.append("a border")
    if (low, high) != BLACK_AND_WHITE:
        undone.append(f"levels {low} and {high} instead of 0 and 255")
    return np.where(gray[inside] > (low + high) / 2, np.uint8(255), np.uint8(0))


def _main_levels(gray: np.ndarray) -> tuple[int, int]:
    """The two levels of a halftone (H, W) uint8; BLACK_AND_WHITE if most levels are close to these.

    Other levels are looked for in the middle of the image first, where there is no border.
    """
    height, width = gray.shape
    middle = np.ascontiguousarray(gray[height // 4 : height - height // 4, width // 4 : width - width // 4])
    for region, tolerated in ((gray, MAX_GRAY_SHARE), (middle, 0), (gray, 0)):
        counts = cv2.calcHist([region], [0], None, [256], [0, 256]).ravel()
        both = counts[: GRAY_MARGIN + 1].any() and counts[255 - GRAY_MARGIN :].any()
        if both and counts[_far_from(*BLACK_AND_WHITE)].sum() <= tolerated * region.size:
            return BLACK_AND_WHITE
        found = np.flatnonzero(counts)
        if tolerated or len(found) < 2:
            continue
        if len(found) == 2:
            return int(found[0]), int(found[1])
        if np.ptp(found) > 2 * GRAY_MARGIN:
            split = int(cv2.threshold(region, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0]) + 1
            return int(counts[:split].argmax()), split + int(counts[split:].argmax())
    return BLACK_AND_WHITE


def _far_from(low: int, high: int) -> np.ndarray:
    """Which of the levels 0 … 255 are close to neither of two, bool (256,)."""
    levels, margin = np.arange(256), round(GRAY_MARGIN * (high - low) / 255)
    return (np.abs(levels - low) > margin) & (np.abs(levels - high) > margin)


def _has_two_colours(bgr: np.ndarray) -> bool:
    other = (bgr != bgr[0, 0]).any(axis=2)
    return bool(other.any()) and bool((bgr[other] == bgr[other][0]).all())


def _within_border(gray: np.ndarray, odd: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns inside the outermost lines that are uniform and of a third level."""
    top, bottom, left, right = 0, gray.shape[0], 0, gray.shape[1]

    def is_border(line: np.ndarray, of_odd: np.ndarray) -> bool:
        return line.size > 0 and bool(of_odd[0]) and line.min() == line.max()

    while top < bottom and is_border(gray[top, left:right], odd[top, left:right]):
        top += 1
    while bottom > top and is_border(gray[bottom - 1, left:right], odd[bottom - 1, left:right]):
        bottom -= 1
    while left < right and is_border(gray[top:bottom, left], odd[top:bottom, left]):
        left += 1
    while right > left and is_border(gray[top:bottom, right - 1], odd[top:bottom, right - 1]):
        right -= 1
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else (slice(None), slice(None))


def _without_repeats(halftone: np.ndarray, pilot: bool, undone: list[str]) -> np.ndarray:
    """One pixel of each block of repeated ones, where it is certain that pixels are repeated."""
    rows, columns = (_repeats(halftone, axis) for axis in (0, 1))
    if max(rows[0], columns[0]) == 1:
        return halftone
    inside = _within_frame(halftone)
    kept = [
        _block_centres(part.stop - part.start, repeat, (first - part.start) % repeat) + part.start
        for part, (repeat, first) in zip(inside, (rows, columns), strict=True)
    ]
    reduced = np.ascontiguousarray(halftone[np.ix_(*kept)])
    if not (_is_irregular(reduced) or (pilot and detect_pilot(reduced).present)):
        return halftone
    if any(part.start for part in inside):
        undone.append("a border")
    size = f"{reduced.shape[1]} × {reduced.shape[0]}"
    undone.append(f"every pixel repeated {columns[0]} × {rows[0]} times: now {size}")
    return reduced


def _repeats(halftone: np.ndarray, axis: int) -> tuple[int, int]:
    """How often each line across `axis` is repeated, and the first line that begins a block; (1, 0) for not at all.

    A halftone has dots of one pixel, whose two edges lie a single line apart; in an enlargement all edges lie a
    multiple of the factor apart.
    """
    before, after = (halftone[:-1], halftone[1:]) if axis == 0 else (halftone[:, :-1], halftone[:, 1:])
    changes = np.count_nonzero(before != after, axis=1 - axis)
    places = np.flatnonzero(changes) + 1
    total = changes.sum()
    for repeat in range(min(MAX_REPEAT, halftone.shape[axis] // 2), 1, -1) if len(places) > 1 else ():
        at = np.bincount(places % repeat, changes[places - 1])
        if at.max() >= MIN_ALIGNED * total:
            return repeat, int(at.argmax())
    return 1, 0


def _block_centres(length: int, repeat: int, first: int) -> np.ndarray:
    """The central line of each block of `repeat` lines of 0 … length - 1; the outer blocks may be incomplete."""
    edges = np.unique([0, *range(first, length, repeat), length])
    return (edges[:-1] + edges[1:] - 1) // 2


def _is_irregular(halftone: np.ndarray) -> bool:
    """Whether, along both axes, there are enough lines with dots and most of them differ: no pattern, no drawing."""
    for lines in (halftone, halftone.T):
        dotted = lines[(lines != lines[:, :1]).any(axis=1)]
        different = len(np.unique(np.packbits(dotted > 0, axis=1), axis=0)) if len(dotted) else 0
        if different < max(MIN_LINES, len(dotted) / 2):
            return False
    return True


def _within_frame(halftone: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns inside a thin frame: lines of one level on all four sides, of which two end in a contrast.

    On a side of little contrast the halftone may have uniform lines of its own, so no more are removed than on others.
    """
    whole = tuple(slice(0, side) for side in halftone.shape)
    other = halftone != halftone[0, 0]
    lines = [np.flatnonzero(other.any(axis=axis)) for axis in (1, 0)]
    if not len(lines[0]):
        return whole
    widths, ends = [], []
    for axis, found in enumerate(lines):
        length = halftone.shape[axis]
        widths += [int(found[0]), length - 1 - int(found[-1])]
        across = other if axis == 0 else other.T
        ends += [across[found[0]].mean() > MIN_CONTRAST, across[found[-1]].mean() > MIN_CONTRAST]
    sharp = [width for width, is_end in zip(widths, ends, strict=True) if is_end]
    if len(sharp) < 2 or min(widths) == 0 or max(sharp) > MAX_FRAME * min(halftone.shape):
        return whole
    top, bottom, left, right = (min(width, max(sharp)) for width in widths)
    return slice(top, halftone.shape[0] - bottom), slice(left, halftone.shape[1] - right)
