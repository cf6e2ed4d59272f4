"""Per-ink screen-phase maps: an additional network input that locates every pixel in the screen cells of each ink.

The wave of an ink is the mean of the two fundamental cosines of its dot screen, or the single one of a line screen: 1
at the dot centres, -1 between the dots. Channels in the order of INKS. `exact_waves` computes the waves from the
printing parameters, `EstimatedWaves` from a scan.
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

PHASE_SIGMA, STEP = 24.0, 8
"""σ in pixels of the window that averages the phase, short enough to follow a warped page, and the stride at which the
phase is stored."""
BAND, MARGIN = 512, 8
"""Rows that are demodulated at once, and the rows around them that `detail` needs."""
BESIDE = ((1.25, 7.5), (0.8, 7.5))
"""Relative pitch and turn in degrees of frequencies between those of all inks, whose angles differ by 15° or more."""
NOISE_AMPLITUDE = 0.5
"""Levels: waves of lower amplitude fade out, since on blank paper the phase is noise."""


def exact_waves(printing: Printing, height: int, width: int) -> np.ndarray:
    """Waves of `print_and_scan`'s output for `printing`: float32 (height, width, 4) in [-1, 1]; zero for FM.

    Inks at the angle of black are zero, as in `screen_finder.find_screens`.
    """
    waves = np.zeros((height, width, len(INKS)), np.float32)
    if printing.is_fm:
        return waves
    for number, (angle, offset) in enumerate(zip(printing.angles, printing.offsets, strict=True)):
        if number < 3 and (printing.gray or angle == printing.angles[3]):
            continue
        # Pixel centres in the coordinates of the rendered screen.
        x, y = (
            (np.arange(side) + 0.5) * (printing.render_side(side) / side) - 0.5 + origin - printing.render_scale * shift
            for side, origin, shift in zip((width, height), (ORIGIN_X, ORIGIN_Y), offset, strict=True)
        )
        frequencies = fundamentals(printing.render_pitch, angle, printing.method == "line")
        cosines = [_cosine(fx * x, fy * y + 0.5) for fx, fy in frequencies]  # am_screen's dots are at half a cell
        waves[..., number] = np.mean(cosines, axis=0)
    return waves


class EstimatedWaves:
    """Waves of (H, W, 3) BGR uint8 at its detected `screens`, by window; stores at most H W bytes."""

    def __init__(self, bgr: np.ndarray, screens: dict[str, Screen]):
        self._waves = []
        for ink, screen in screens.items():
            frequencies = fundamentals(*screen[:3])
            self._waves.append((INKS.index(ink), frequencies, _phasors(bgr, ink, frequencies)))

    def crop(self, window: tuple[slice, slice]) -> np.ndarray:
        """float32 (h, w, 4) in [-1, 1] of a window of the scan; zero for inks without a detected screen."""
        rows, columns = (np.arange(part.start, part.stop) for part in window)
        waves = np.zeros((len(INKS), len(rows), len(columns)), np.float32)
        # Pixel x is at (x + 1/2) / STEP - 1/2 on the grid of the phasors.
        first_x, first_y = ((part[0] + 0.5) / STEP - 0.5 for part in (columns, rows))
        matrix = np.array([[1 / STEP, 0, first_x], [0, 1 / STEP, first_y]])
        options = {"flags": cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REPLICATE}
        for number, frequencies, phasors in self._waves:
            for (fx, fy), phasor in zip(frequencies, phasors, strict=True):
                for part, quarter in zip(phasor, (0, 0.25), strict=True):  # cosine, sine
                    term = cv2.warpAffine(part, matrix, (len(columns), len(rows)), **options)
                    term *= _cosine(fx * columns, fy * rows - quarter)
                    waves[number] += term
            waves[number] /= len(frequencies)
        return waves.transpose(1, 2, 0)


def concat_waves(scan: Tensor, waves: np.ndarray) -> Tensor:
    """Network input (1, 7, H, W) from a scan (1, 3, H, W) and its waves (H, W, 4)."""
    return torch.cat((scan, torch.from_numpy(waves).permute(2, 0, 1)[None]), dim=1)


def local_amplitude(bgr: np.ndarray, screens: dict[str, Screen], sigma: float) -> np.ndarray:
    """Amplitude in levels of the strongest of the `screens` around each block of STEP² pixels of (H, W, 3) BGR uint8.

    sigma  of the averaging window, pixels
    Twice the amplitude of detail beside the screen's frequencies is subtracted: letters have both. Returns float32
    (⌈H / STEP⌉, ⌈W / STEP⌉).
    """
    found = []
    for ink, screen in screens.items():
        own, *beside = (
            _amplitude(bgr, ink, screen._replace(pitch=scale * screen.pitch, angle=screen.angle + turn), sigma)
            for scale, turn in ((1, 0), *BESIDE)
        )
        found.append(own - 2 * np.mean(beside, axis=0))
    return np.max(found, axis=0)


def _amplitude(bgr: np.ndarray, ink: str, screen: Screen, sigma: float) -> np.ndarray:
    basebands = _basebands(bgr, ink, fundamentals(*screen[:3]))
    return np.mean([2 * np.linalg.norm(_smoothed(baseband, sigma), axis=2) for baseband in basebands], axis=0)


def _phasors(bgr: np.ndarray, ink: str, frequencies: list[Frequency]) -> list[np.ndarray]:
    """Cosine and sine coefficients of the ink's wave per frequency: float32 (2, H / STEP, W / STEP), norm up to 1."""
    found = []
    for baseband in _basebands(bgr, ink, frequencies):
        phasor = _smoothed(baseband, PHASE_SIGMA).transpose(2, 0, 1)
        # Demodulation halves the amplitude.
        found.append(np.ascontiguousarray(phasor / (np.linalg.norm(phasor, axis=0) + NOISE_AMPLITUDE / 2)))
    return found


def _smoothed(baseband: np.ndarray, sigma: float) -> np.ndarray:
    """Low-pass filtered with σ pixels, which leaves the slowly varying phase: float32 (h, w, 2), cosine and sine."""
    pair = np.dstack((baseband.real, -baseband.imag))
    return cv2.GaussianBlur(pair, (0, 0), sigma / STEP, borderType=cv2.BORDER_REFLECT)


def _basebands(bgr: np.ndarray, ink: str, frequencies: list[Frequency]) -> np.ndarray:
    """The ink's plane of the scan demodulated by each frequency: complex64 (F, H / STEP, W / STEP)."""
    height, width = bgr.shape[:2]
    bands = []
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        first, last = max(top - MARGIN, 0), min(bottom + MARGIN, height)
        plane = detail(_darkness(bgr[first:last], ink))[top - first : bottom - first]
        plane = cv2.copyMakeBorder(plane, 0, -plane.shape[0] % STEP, 0, -width % STEP, cv2.BORDER_CONSTANT, value=0)
        bands.append([_demodulated(plane, top, frequency) for frequency in frequencies])
    return np.concatenate(bands, axis=1)


def _demodulated(plane: np.ndarray, top: int, frequency: Frequency) -> np.ndarray:
    """Mean over STEP × STEP blocks of the plane times exp(-2πi (fx x + fy y)): complex64 (h / STEP, w / STEP).

    plane: float32 (h, w), multiples of STEP, starting at row `top` of the scan.
    """
    height, width = plane.shape
    along, down = (
        np.exp(-2j * np.pi * f * positions).astype(np.complex64)
        for f, positions in zip(frequency, (np.arange(width), top + np.arange(height)), strict=True)
    )
    size = (width // STEP, height)
    parts = (plane * part for part in (along.real, along.imag))
    real, imaginary = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in parts)
    return ((real + 1j * imaginary) * down[:, None]).reshape(-1, STEP, size[0]).mean(axis=1)


def _darkness(bgr: np.ndarray, ink: str) -> np.ndarray:
    """float32 (H, W): 255 minus the channel that the ink absorbs; minus the mean of all channels for black."""
    plane = bgr.mean(axis=2, dtype=np.float32) if ink == "black" else bgr[..., 2 - INKS.index(ink)].astype(np.float32)
    return 255 - plane


def _cosine(along: np.ndarray, down: np.ndarray) -> np.ndarray:
    """float32 (h, w): cos 2π(along + down), for along (w,) and down (h,) in cycles."""
    along, down = (np.exp(2j * np.pi * cycles).astype(np.complex64) for cycles in (along, down))
    product = np.outer(down.real, along.real)
    product -= np.outer(down.imag, along.imag)
    return product
