"""Where in its cell each pixel of a print lies, ink by ink: what a network needs to read a dot as a threshold.

An ink's wave is the mean of the two cosines of its screen (one of lines), 1 where the ink's dots begin and -1 between
them; planes in the order of INKS. `drawn_waves` has them from the printing, `FoundWaves` reads them off a scan.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from descreen.notch import fundamentals
from descreen.printing import Printing
from descreen.screen_finder import Screen
from halftone.inks import INKS
from halftone.screens import ORIGIN_X, ORIGIN_Y

REACH = 24.0
"""σ in pixels of the window over which a wave is taken to keep its phase: a page that is not quite flat is followed."""
STEP = 8
"""The phase, which changes slowly, is held for every eighth pixel."""
BAND, MARGIN = 512, 16
LOCAL = 4.0
"""σ in pixels of the mean brightness, which is taken away before a wave is looked for."""
UNSEEN = 0.5
"""Levels: waves of less amplitude fade, for there the paper is empty and what is found is noise."""


def drawn_waves(printing: Printing, height: int, width: int) -> np.ndarray:
    """The waves of a `printing` as `print_and_scan` draws it: float32 (height, width, 4) in [-1, 1]; FM has none.

    Inks on one angle are given as a scan shows them (`screen_finder.find_screens`): as black alone.
    """
    waves = np.zeros((height, width, len(INKS)), np.float32)
    if printing.is_fm:
        return waves
    scale = 1.0 if printing.clean else max(printing.scale, 2 / printing.pitch)
    pitch = max(2.0, printing.pitch * scale)
    for number, (angle, offset) in enumerate(zip(printing.angles, printing.offsets, strict=True)):
        if number < 3 and (printing.gray or angle == printing.angles[3]):
            continue
        found = [
            _cosine(fx * scale, fy * scale, _turns(fx, fy, offset, scale), height, width)
            for fx, fy in fundamentals(pitch, angle, printing.method == "line")
        ]
        waves[..., number] = np.mean(found, axis=0)
    return waves


class FoundWaves:
    """The waves of (H, W, 3) BGR uint8 at the `screens` found in it, for windows of it; H W / 2 bytes are held."""

    def __init__(self, bgr: np.ndarray, screens: dict[str, Screen]):
        self._waves = [
            (INKS.index(ink), [(fx, fy, _phases(bgr, ink, fx, fy)) for fx, fy in fundamentals(*screen[:3])])
            for ink, screen in screens.items()
        ]

    def at(self, window: tuple[slice, slice]) -> np.ndarray:
        """float32 (h, w, 4) in [-1, 1] of a window of the scan, 0 for inks whose screen was not found."""
        rows, columns = window
        height, width = rows.stop - rows.start, columns.stop - columns.start
        waves = np.zeros((height, width, len(INKS)), np.float32)
        # Pixel x lies at (x + 1/2) / STEP - 1/2 of the phases.
        place = np.array(
            [
                [1 / STEP, 0, (columns.start + 0.5) / STEP - 0.5],
                [0, 1 / STEP, (rows.start + 0.5) / STEP - 0.5],
            ]
        )
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        for number, parts in self._waves:
            for fx, fy, phases in parts:
                phase = cv2.warpAffine(phases, place, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)
                down, along = _turning(fy, rows.start, rows.stop), _turning(fx, columns.start, columns.stop)
                carrier = down[:, None] * along
                found = phase[..., 0] * carrier.real + phase[..., 1] * carrier.imag
                waves[..., number] += found / len(parts)
        return waves


def beside(scan: Tensor, waves: np.ndarray) -> Tensor:
    """A scan (1, 3, H, W) and its waves (H, W, 4) as what a network sees, (1, 7, H, W)."""
    return torch.cat((scan, torch.from_numpy(waves).permute(2, 0, 1)[None]), dim=1)


def _phases(bgr: np.ndarray, ink: str, fx: float, fy: float) -> np.ndarray:
    """float32 (H / STEP, W / STEP, 2): cosine and sine by which darkness is ahead of the carrier; below 1 where faint.

    The scan is carried down by the frequency and averaged, so what is left is the screen's slow phase.
    """
    height, width = bgr.shape[:2]
    size = (-(-width // STEP), -(-height // STEP))
    held = np.empty((size[1], size[0], 2), np.float32)
    along = _turning(fx, 0, width)
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        above, below = max(top - MARGIN, 0), min(bottom + MARGIN, height)
        plane = _darkness(bgr[above:below], ink)
        plane -= cv2.GaussianBlur(plane, (0, 0), LOCAL, borderType=cv2.BORDER_REFLECT)
        down = _turning(fy, top, bottom)
        carried = plane[top - above : bottom - above] * np.conj(down[:, None] * along)
        carried = np.dstack((carried.real, -carried.imag))
        pad = (-carried.shape[0] % STEP, -width % STEP)
        carried = cv2.copyMakeBorder(carried, 0, pad[0], 0, pad[1], cv2.BORDER_CONSTANT, value=(0, 0))
        rows = carried.shape[0] // STEP
        held[top // STEP : top // STEP + rows] = carried.reshape(rows, STEP, size[0], STEP, 2).mean(axis=(1, 3))
    held = cv2.GaussianBlur(held, (0, 0), REACH / STEP, borderType=cv2.BORDER_REFLECT)
    # A wave of amplitude a is left with a / 2.
    return held / (np.linalg.norm(held, axis=2, keepdims=True) + UNSEEN / 2)


def _darkness(bgr: np.ndarray, ink: str) -> np.ndarray:
    """float32 (H, W): the channel that an ink darkens, all three for black, from white on."""
    number = INKS.index(ink)
    plane = bgr.mean(axis=2, dtype=np.float32) if ink == "black" else bgr[..., 2 - number].astype(np.float32)
    return 255 - plane


def _turning(frequency: float, start: int, stop: int) -> np.ndarray:
    """complex64: e^(2πi · frequency · x) for x from `start` on."""
    return np.exp(2j * np.pi * frequency * np.arange(start, stop)).astype(np.complex64)


def _cosine(fx: float, fy: float, turns: float, height: int, width: int) -> np.ndarray:
    down = _turning(fy, 0, height) * np.exp(2j * np.pi * turns)
    return (down[:, None] * _turning(fx, 0, width)).real.astype(np.float32)


def _turns(fx: float, fy: float, offset: tuple[float, float], scale: float) -> float:
    """The phase in cycles of pixel (0, 0)'s middle, for a screen that was drawn `scale` times finer."""
    x, y = ORIGIN_X - offset[0] * scale, ORIGIN_Y - offset[1] * scale
    first = 0.5 * scale - 0.5
    return fx * (first + x) + fy * (first + y) + 0.5  # am_screen's cell has its dot in the middle
