"""Which screen a scan was printed with: pitch and angle of each ink, read off the spectrum."""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from halftone.inks import INKS

PATCH = 256
"""Side in pixels of the squares whose spectra are averaged."""
STEP = 128
"""Pixels from one of them to the next."""
SMALLEST_PITCH, LARGEST_PITCH = 1.9, 10.0
"""Pixels of the scan, or of a shrunk one; beyond lie pictures, not screens."""
RESTORED_PITCH = 8.5
"""Pixels; scans of coarser screens are restored better at half or quarter size."""
LEAST_COARSE = 7.0
"""Pixels; finer screens are found in the scan itself."""
SMALLEST_SHRUNK = 64
"""Pixels a side of a shrunk scan in which coarse screens are looked for: below, there are too few of their periods."""
STARK = 12.0
"""Levels; coarse dots are resolved, so the wave of some ink has at least this amplitude: 14 to 90 levels in prints of
test_imgs/ with pitches from 9 to 40 pixels. Patterns in photographs were below 4, those of FM halftones 11."""
STRONGER = 1.4
"""How many times the amplitude of an overtone that was found in its stead a coarse screen has at least (1.6 to 10 in
those prints)."""
HIGHEST_OVERTONE = 4.5
"""How many times that overtone's pitch it has at most."""
CLEAR = 18.0
"""How far a peak must stand out from the median of its surroundings, as a ratio of amplitudes."""
ALONE = 2.5
"""How far an ink's peak in its own channel must exceed what the other channels have there."""
FAINT = 0.01
"""Share of the highest amplitude below which no surroundings are taken to be."""
FAINTEST = 0.05
"""The same in levels of a wave: a screen has an amplitude of at least CLEAR times this, what files round less."""
SAME_PITCH = 0.06
"""By which share the pitches of a print's screens differ at most."""
CLEAR_OF_PITCH = 8.0
"""CLEAR for a screen whose pitch is known."""
MOST = 6
"""Screens of one pitch that are looked at."""
WIDE = 6.0
"""Samples about a peak that are its own."""
LEAST_LEAD = 0.07
"""By how much (a logarithm) an ink's own channel must lead the others."""
MOST_LEAD = 1.0
"""A larger lead says nothing more: a mirror image in a JPEG's halved colours leads most."""
INK, BLACK = 0.3, 2.0
"""What an ink is worth beside its lead, and black beside its spread (logarithms): one screen alone is black unless a
channel leads clearly."""
GRAY_CHROMA = 6.0
"""Mean spread of the channels, levels, below which a scan has black ink alone."""


class Screen(NamedTuple):
    """`pitch` in pixels; `angle` in degrees counter-clockwise, 0..90 for dots, 0..180 for lines (`is_line`).

    `strength` is the ratio of the peak's amplitude to the spectrum around it, `amplitude` that of the screen's wave in
    levels, root mean square over the scan, where it is known.
    """

    pitch: float
    angle: float
    is_line: bool
    strength: float
    amplitude: float = 0.0


def find_screens(bgr: np.ndarray) -> dict[str, Screen]:
    """The screens of (H, W, 3) BGR uint8 by ink, those of INKS that have a clear one; none for FM and photographs.

    The clearest screen says the pitch, which is nearly that of all inks. Screens of about this pitch are then told by
    the channels they show in: cyan most in red, magenta in green, yellow in blue, black evenly. Inks on one angle are
    found as black. Dots with pitches beyond 10 pixels are looked for in the scan at half and quarter size; what was
    found in their stead is an overtone and has the weaker wave. Pitches are the scan's.
    """
    if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8:
        raise ValueError(f"expected uint8 (H, W, 3), not {bgr.dtype} {bgr.shape}")
    found, small = _find_fine(bgr), bgr
    for shrink in (2, 4):
        small = cv2.pyrDown(small)  # no fine screen gets through its blur and folds into a coarse one
        if min(small.shape[:2]) < SMALLEST_SHRUNK:
            break
        coarse = {ink: screen._replace(pitch=screen.pitch * shrink) for ink, screen in _find_fine(small).items()}
        if _is_coarser(coarse, found):
            found = coarse
    return found


def _is_coarser(coarse: dict[str, Screen], found: dict[str, Screen]) -> bool:
    """Whether what a shrunk scan shows are coarse dots, and what was `found`, if anything, is an overtone of theirs."""
    pitch, amplitude = common_pitch(coarse) or 0, _amplitude_of(coarse)
    # Lines so far apart are those of a text, say.
    if pitch < LEAST_COARSE or amplitude < STARK or any(screen.is_line for screen in coarse.values()):
        return False
    return not found or (pitch < HIGHEST_OVERTONE * common_pitch(found) and amplitude > STRONGER * _amplitude_of(found))


def _amplitude_of(screens: dict[str, Screen]) -> float:
    return max((screen.amplitude for screen in screens.values()), default=0.0)


def shrink_for(screens: dict[str, Screen]) -> int:
    """1, 2 or 4: by how much a scan with these screens is best shrunk before it is restored."""
    pitch = common_pitch(screens) or 0
    return next((shrink for shrink in (1, 2) if pitch <= RESTORED_PITCH * shrink), 4)


def _find_fine(bgr: np.ndarray) -> dict[str, Screen]:
    """The screens of (H, W, 3) up to LARGEST_PITCH."""
    side = min(PATCH, *bgr.shape[:2])
    if side < 32:
        return {}
    everywhere = np.ones((side, side), bool)
    sample = bgr[:: max(1, bgr.shape[0] // 1024), :: max(1, bgr.shape[1] // 1024)].astype(np.int16)
    if np.ptp(sample, axis=2).mean() < GRAY_CHROMA:
        only = _find(_amplitudes(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), side), everywhere)
        return {} if only is None else {"black": only}
    channels = np.stack([_amplitudes(bgr[..., i], side) for i in (2, 1, 0)])  # as INKS: red, green, blue
    first = _find(channels.min(axis=0), everywhere)
    for number, own in enumerate(channels):
        if first is None:
            others = np.delete(channels, number, axis=0).max(axis=0)
            first = _find(own, own > ALONE * cv2.dilate(others, np.ones((3, 3), np.uint8)))
    return {} if first is None else _by_ink(channels, first)


def common_pitch(screens: dict[str, Screen]) -> float | None:
    """Pixels: presses give all inks nearly one pitch. That of black, which three channels attest, else the clearest."""
    if not screens:
        return None
    return (screens.get("black") or max(screens.values(), key=lambda screen: screen.strength)).pitch


def _by_ink(channels: np.ndarray, first: Screen) -> dict[str, Screen]:
    """The screens of about `first`'s pitch in amplitudes (3, side, side) of red, green and blue, given to the inks.

    `first` itself is black's where they can be no ink's.
    """
    side = channels.shape[1]
    y, x, radius = _grid(side)
    near = abs(radius * first.pitch - 1) < SAME_PITCH
    contrasts = np.stack([_contrast(channel, near) for channel in channels])
    if not first.is_line:
        contrasts = np.sqrt(contrasts * np.stack([_turned(contrast, side) for contrast in contrasts]))
    left = np.where((x >= 0) & (first.is_line | (y <= 0)), contrasts.max(axis=0), 0)  # one peak of each screen
    places, shown = [], []
    while len(places) < MOST and left.max() > CLEAR_OF_PITCH:
        place = np.unravel_index(left.argmax(), left.shape)
        places.append(place)
        shown.append([_amplitude(channel, place, first.is_line) for channel in channels])
        down, along = y[place], x[place]
        turns = [(down, along), (-down, -along)]  # of a peak that its screen has as well
        if not first.is_line:
            turns += [(-along, down), (along, -down)]
        for down, along in turns:
            left[np.hypot(y - down, x - along) < WIDE] = 0
    strengths = [contrasts[:, row, column].max() for row, column in places]
    found = {}
    for ink, number in _inks_of(shown, strengths).items():
        spectrum = channels.min(axis=0) if ink == "black" else channels[INKS.index(ink)]
        found[ink] = _screen(spectrum, places[number], first.is_line, strengths[number])
    return found or {"black": first}


def _inks_of(shown: list[list[float]], strengths: list[float]) -> dict[str, int]:
    """Which screen is each ink's, from the amplitudes that each screen has in red, green and blue.

    The assignment of the highest sum of how far an ink's own channel is ahead of the others, or, for black, how even
    they are, with strong screens counting more. An ink may have none.
    """
    gains = np.zeros((len(INKS), len(shown) + len(INKS)))
    for number, (amplitudes, strength) in enumerate(zip(np.log(shown), strengths, strict=True)):
        weight = np.log(2 * strength / CLEAR_OF_PITCH)
        for ink in range(3):
            lead = amplitudes[ink] - np.delete(amplitudes, ink).max()
            gains[ink, number] = weight * (INK + min(lead, MOST_LEAD)) if lead > LEAST_LEAD else -1
        gains[3, number] = weight * (BLACK - np.ptp(amplitudes))
    given = zip(*linear_sum_assignment(gains, maximize=True), strict=True)
    return {INKS[ink]: number for ink, number in given if number < len(shown) and gains[ink, number] > 0}


def _find(spectrum: np.ndarray, allowed: np.ndarray) -> Screen | None:
    """The screen whose peaks, in places that are `allowed`, stand out of amplitudes (side, side), or None.

    Frequency 0 is in the middle.
    """
    side = spectrum.shape[0]
    _, x, radius = _grid(side)
    contrast = _contrast(spectrum, (radius >= 1 / LARGEST_PITCH) & (radius <= 1 / SMALLEST_PITCH))
    contrast[(x < 0) | ~allowed] = 0  # the spectrum of a real picture is its own half turn
    # A grid of dots has two peaks at a right angle, so both together are looked for; lines have one.
    pair = np.sqrt(contrast * _turned(contrast, side))
    peak = np.unravel_index(pair.argmax(), pair.shape)
    lone = np.unravel_index(contrast.argmax(), contrast.shape)
    is_line = bool(pair[peak] < 0.35 * contrast[lone])
    at, strength = (lone, contrast[lone]) if is_line else (peak, pair[peak])
    if strength < CLEAR:
        return None
    if not is_line:
        at = _fundamental(at, pair, side)
        at = _fundamental(at, pair, side)  # a second harmonic is the diagonal's diagonal
    return _screen(spectrum, at, is_line, strength)


def _screen(spectrum: np.ndarray, at: tuple[int, int], is_line: bool, strength: float) -> Screen:
    """The screen whose peak is the one about place `at`."""
    side = spectrum.shape[0]
    points = [_refined(spectrum, at[0] - side // 2, at[1] - side // 2, side)]
    if not is_line:
        fy, fx = points[0]
        other = _refined(spectrum, round(-fx * side), round(fy * side), side)
        points.append((other[1], -other[0]))
    fy, fx = np.mean(points, axis=0)
    angle = np.degrees(np.arctan2(-fy, fx))
    if is_line:
        angle += 90  # lines run across the direction in which they repeat
    angle = float(angle % (180 if is_line else 90))
    amplitude = _amplitude(spectrum, at, is_line) / _one_level(side)
    return Screen(float(1 / np.hypot(fy, fx)), angle, is_line, float(strength), amplitude)


def _one_level(side: int) -> float:
    """What a wave with an amplitude of one level has in a spectrum of `side`, under the Hann window."""
    return side**2 / 8


def _grid(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of a spectrum from frequency 0 on, down and along, in samples, and their distance, cycles per pixel."""
    y, x = np.mgrid[:side, :side] - side // 2
    return y, x, np.hypot(x, y) / side


def _contrast(spectrum: np.ndarray, within: np.ndarray) -> np.ndarray:
    """How far amplitudes stand out of those around them, 0 outside of `within`."""
    # Where a blur has emptied the spectrum, the mirror images that resampling left stand out of next to nothing.
    faint = max(FAINT * spectrum[within].max(), FAINTEST * _one_level(spectrum.shape[0]))
    return np.where(within, spectrum / np.maximum(_surroundings(spectrum), faint), 0)


def _amplitude(spectrum: np.ndarray, at: tuple[int, int], is_line: bool) -> float:
    """What is at place `at`, or one beside it; of dots, the mean of it and of what is a quarter turn on."""
    side = spectrum.shape[0]
    y, x = at[0] - side // 2, at[1] - side // 2
    peaks = [_around(spectrum, dy, dx).max() for dy, dx in ((y, x),) + ((-x, y),) * (not is_line)]
    return float(np.mean(peaks))


def _amplitudes(plane: np.ndarray, side: int) -> np.ndarray:
    """Root mean square of the spectra of overlapping patches under a Hann window; at most 64 of them, evenly spread."""
    height, width = plane.shape
    corners = [(top, left) for top in _starts(height, side) for left in _starts(width, side)]
    chosen = [corners[i] for i in np.unique(np.linspace(0, len(corners) - 1, 64).astype(int))]
    line = np.hanning(side + 1)[:side].astype(np.float32)
    power = np.zeros((side, side))
    for top, left in chosen:
        patch = plane[top : top + side, left : left + side].astype(np.float32)
        power += np.abs(np.fft.fft2((patch - patch.mean()) * np.outer(line, line))) ** 2
    return np.fft.fftshift(np.sqrt(power / len(chosen))) + 1e-3


def _starts(length: int, side: int) -> list[int]:
    return list(range(0, length - side + 1, STEP))


def _surroundings(spectrum: np.ndarray) -> np.ndarray:
    """The median of amplitudes at about the same distance from frequency 0."""
    side = spectrum.shape[0]
    y, x = np.mgrid[:side, :side] - side // 2
    ring = np.minimum(np.hypot(x, y), side // 2 - 1).astype(int) // 2
    order = np.argsort(ring, axis=None, kind="stable")
    bounds = np.searchsorted(ring.flat[order], np.arange(ring.max() + 2))
    medians = [np.median(spectrum.flat[order[a:b]]) for a, b in zip(bounds, bounds[1:], strict=False)]
    return np.array(medians)[ring] + 1e-3


def _turned(contrast: np.ndarray, side: int) -> np.ndarray:
    """At every place the largest contrast about the place a quarter turn on; peaks lie between samples."""
    middle = side // 2
    whole = np.maximum(contrast, np.roll(contrast[::-1, ::-1], (1, 1) if side % 2 == 0 else 0, axis=(0, 1)))
    whole = cv2.dilate(whole.astype(np.float32), np.ones((3, 3), np.uint8))
    y, x = np.mgrid[:side, :side] - middle
    rows, columns = (middle - x) % side, (middle + y) % side
    return whole[rows, columns]


def _fundamental(at: tuple[int, int], pair: np.ndarray, side: int) -> tuple[int, int]:
    """`at`, or the peak whose diagonal it is, an eighth of a turn off at 1/√2 of the distance, where there is one."""
    y, x = at[0] - side // 2, at[1] - side // 2
    candidates = []
    for fy, fx in (((y + x) / 2, (x - y) / 2), ((y - x) / 2, (x + y) / 2)):
        row, column = round(fy) + side // 2, round(fx) + side // 2
        window = pair[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        if window.size and window.max() > min(0.3 * pair[at], CLEAR):
            inner = np.unravel_index(window.argmax(), window.shape)
            candidates.append((max(row - 2, 0) + inner[0], max(column - 2, 0) + inner[1]))
    return max(candidates, key=lambda place: pair[place], default=at)


def _refined(spectrum: np.ndarray, y: int, x: int, side: int) -> tuple[float, float]:
    """Cycles per pixel (fy, fx) of the peak near sample (y, x): a parabola through the logarithms about its top."""
    down, along = np.unravel_index(_around(spectrum, y, x).argmax(), (3, 3))
    y, x = y + down - 1, x + along - 1
    about = np.log(_around(spectrum, y, x))
    offsets = []
    for low, top, high in (about[:, 1], about[1]):
        bend = low - 2 * top + high
        offsets.append(float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0)
    return (y + offsets[0]) / side, (x + offsets[1]) / side


def _around(spectrum: np.ndarray, y: int, x: int) -> np.ndarray:
    """(3, 3) samples about (y, x) from frequency 0 on; beyond the border the spectrum repeats."""
    side = spectrum.shape[0]
    near = np.arange(-1, 2) + side // 2
    return spectrum[np.ix_((y + near) % side, (x + near) % side)]
