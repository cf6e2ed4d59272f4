"""Where in its cell each pixel of a print lies, ink by ink: what a network needs to read a dot as a threshold.

An ink's wave is the mean of the two cosines of its screen (one of lines), 1 where the ink's dots begin and -1 between
them; planes in the order of INKS. `drawn_waves` has them from the printing, `FoundWaves` reads them off a scan.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from descreen.lattice import Frequency, fundamentals
from descreen.notch import detail
from descreen.printing import Printing
from descreen.screen_finder import Screen
from halftone.inks import INKS
from halftone.screens import ORIGIN_X, ORIGIN_Y

REACH = 24.0
"""σ in pixels of the window over which a wave is taken to keep its phase: a page that is not quite flat is followed."""
STEP = 8
"""The phase, which changes slowly, is held for every eighth pixel."""
BAND = 512
"""Rows that are looked at together."""
MARGIN = 8
"""Rows above and below them that `detail` sees."""
UNSEEN = 0.5
"""Levels: waves of less amplitude fade, for there the paper is empty and what is found is noise."""


def drawn_waves(printing: Printing, height: int, width: int) -> np.ndarray:
    """The waves of a `printing` as `print_and_scan` draws it: float32 (height, width, 4) in [-1, 1]; FM has none.

    Inks on one angle are given as a scan shows them (`screen_finder.find_screens`): as black alone.
    """
    waves = np.zeros((height, width, len(INKS)), np.float32)
    if printing.is_fm:
        return waves
    for number, (angle, offset) in enumerate(zip(printing.angles, printing.offsets, strict=True)):
        if number < 3 and (printing.gray or angle == printing.angles[3]):
            continue
        x, y = (
            _drawn_at(side, printing.drawn_side(side)) + origin - printing.drawn_scale * moved
            for side, origin, moved in zip((width, height), (ORIGIN_X, ORIGIN_Y), offset, strict=True)
        )
        # am_screen's cell has its dot in the middle.
        frequencies = fundamentals(printing.drawn_pitch, angle, printing.method == "line")
        drawn = [_cosine(fx * x, fy * y + 0.5) for fx, fy in frequencies]
        waves[..., number] = np.mean(drawn, axis=0)
    return waves


class FoundWaves:
    """The waves of (H, W, 3) BGR uint8 at the `screens` found in it, for windows of it; H W bytes are held at most."""

    def __init__(self, bgr: np.ndarray, screens: dict[str, Screen]):
        self._waves = []
        for ink, screen in screens.items():
            frequencies = fundamentals(*screen[:3])
            self._waves.append((INKS.index(ink), frequencies, _phases(bgr, ink, frequencies)))

    def at(self, window: tuple[slice, slice]) -> np.ndarray:
        """float32 (h, w, 4) in [-1, 1] of a window of the scan, 0 for inks whose screen was not found."""
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        waves = np.zeros((len(INKS), len(rows), len(columns)), np.float32)
        # Pixel x lies at (x + 1/2) / STEP - 1/2 of the phases.
        first_x, first_y = ((part[0] + 0.5) / STEP - 0.5 for part in (columns, rows))
        place = np.array([[1 / STEP, 0, first_x], [0, 1 / STEP, first_y]])
        how = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
        for number, frequencies, held in self._waves:
            for (fx, fy), phases in zip(frequencies, held, strict=True):
                for part, quarter in zip(phases, (0, 0.25), strict=True):
                    phase = cv2.warpAffine(part, place, (len(columns), len(rows)), **how)
                    phase *= _cosine(fx * columns, fy * rows - quarter)
                    waves[number] += phase
            waves[number] /= len(frequencies)
        return waves.transpose(1, 2, 0)


def beside(scan: Tensor, waves: np.ndarray) -> Tensor:
    """A scan (1, 3, H, W) and its waves (H, W, 4) as what a network sees, (1, 7, H, W)."""
    return torch.cat((scan, torch.from_numpy(waves).permute(2, 0, 1)[None]), dim=1)


def _phases(bgr: np.ndarray, ink: str, frequencies: list[Frequency]) -> list[np.ndarray]:
    """For each frequency float32 (2, H / STEP, W / STEP): cosine and sine of the ink's wave; below 1 where it is faint.

    A wave is their sum, each times its phase. The scan is carried down by the frequency and averaged, so what is left
    is the slow phase.
    """
    height, width = bgr.shape[:2]
    bands = []
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        above, below = max(top - MARGIN, 0), min(bottom + MARGIN, height)
        plane = detail(_darkness(bgr[above:below], ink))[top - above : bottom - above]
        pad = -plane.shape[0] % STEP, -width % STEP
        plane = cv2.copyMakeBorder(plane, 0, pad[0], 0, pad[1], cv2.BORDER_CONSTANT, value=0)
        bands.append([_carried(plane, top, frequency) for frequency in frequencies])
    found = []
    for carried in np.concatenate(bands, axis=1):
        both = np.dstack((carried.real, -carried.imag))
        held = cv2.GaussianBlur(both, (0, 0), REACH / STEP, borderType=cv2.BORDER_REFLECT).transpose(2, 0, 1)
        # A wave of amplitude a is left with a / 2.
        found.append(np.ascontiguousarray(held / (np.linalg.norm(held, axis=0) + UNSEEN / 2)))
    return found


def _carried(plane: np.ndarray, top: int, frequency: Frequency) -> np.ndarray:
    """Means over squares of STEP of a plane carried down by a frequency: complex64 (h / STEP, w / STEP).

    plane: float32 (h, w), both multiples of STEP, whose first row is the scan's row `top`.
    """
    height, width = plane.shape
    along, down = (
        np.exp(-2j * np.pi * f * places).astype(np.complex64)
        for f, places in zip(frequency, (np.arange(width), top + np.arange(height)), strict=True)
    )
    narrow = (width // STEP, height)
    real, imaginary = (
        cv2.resize(plane * part, narrow, interpolation=cv2.INTER_AREA) for part in (along.real, along.imag)
    )
    return ((real + 1j * imaginary) * down[:, None]).reshape(-1, STEP, narrow[0]).mean(axis=1)


def _darkness(bgr: np.ndarray, ink: str) -> np.ndarray:
    """float32 (H, W): the channel that an ink darkens, all three for black, from white on."""
    number = INKS.index(ink)
    plane = bgr.mean(axis=2, dtype=np.float32) if ink == "black" else bgr[..., 2 - number].astype(np.float32)
    return 255 - plane


def _cosine(along: np.ndarray, down: np.ndarray) -> np.ndarray:
    """float32 (h, w) of the cosine of along + down, in turns."""
    along, down = (np.exp(2j * np.pi * turns).astype(np.complex64) for turns in (along, down))
    product = np.outer(down.real, along.real)
    product -= np.outer(down.imag, along.imag)
    return product


def _drawn_at(side: int, drawn: int) -> np.ndarray:
    """Where the middles of a side's pixels lay when the screen was drawn on `drawn` pixels."""
    return (np.arange(side) + 0.5) * (drawn / side) - 0.5
