"""Detection of halftone screens in a scan: pitch and angle per ink, from peaks of the power spectrum."""

import math
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from descreen.lattice import fundamentals, mean_power
from halftone.inks import INKS

PATCH, STEP, MAX_PATCHES = 256, 128, 64
"""Welch periodogram: side and distance of the patches in pixels, and their maximal number."""
MIN_PITCH, MAX_PITCH = 1.5, 10.0
"""Search range in pixels of the scan or of a shrunk one; longer periods are image content."""
SAME_PITCH = 0.06
"""Maximal relative difference of the pitches of one print's inks."""
RESTORED_PITCH = 8.5
"""Pixels; scans with larger pitches are restored better at half or quarter size."""

# Peak detection. Ratios are of the amplitude of a peak to the median amplitude at its distance from frequency 0.
MIN_PEAK_RATIO, MIN_PEAK_RATIO_AT_PITCH = 18.0, 8.0
"""Minimum peak-to-median ratio of a screen, and of one whose pitch is known from another ink."""
LINE_RATIO = 0.35
"""A line screen has a dot-grid ratio (geometric mean of two orthogonal peaks) below this share of its single peak's."""
MIN_CHANNEL_RATIO = 2.5
"""Minimum ratio of a peak in an ink's own channel to the same frequency in the other channels."""
MEDIAN_FLOOR, MEDIAN_FLOOR_LEVELS = 0.01, 0.05
"""Lower limits of the median: as a share of the highest amplitude, and as the amplitude of a wave in levels. A screen
therefore has an amplitude of at least MIN_PEAK_RATIO · MEDIAN_FLOOR_LEVELS; rounding to 8 bits causes less."""
FUNDAMENTAL_SHARE = 0.8
"""A pitch above Nyquist is a (1, 1) harmonic if its fundamental has this share of its amplitude and its evidence."""
MAX_SCREENS, PEAK_RADIUS = 6, 6.0
"""Number of peaks considered for the inks, and the radius in samples that is cleared around each."""

# Large-pitch dot screens, detected at half and quarter size.
MIN_LARGE_PITCH, MIN_SHRUNK_SIDE = 7.0, 64
"""Pixels: minimum pitch, since finer screens are detected at full size, and minimum side of the shrunk scan, which must
contain enough periods."""
MIN_LARGE_AMPLITUDE = 12.0
"""Levels; minimum amplitude of the strongest ink. Resolved dots have 14 to 90 levels (prints of test_imgs/ with pitches
from 9 to 40 pixels), patterns in photographs below 4, FM halftones up to 11."""
OVERTONE_GAIN, OVERTONE_PITCH = 1.4, 4.5
"""A large-pitch screen replaces a fine one, its overtone, if its amplitude is at least OVERTONE_GAIN times higher (1.6
to 10 in those prints) and its pitch at most OVERTONE_PITCH times larger."""

# Assignment of screens to inks. Leads are differences of log amplitudes between an ink's own channel and the others.
MIN_LEAD, MAX_LEAD = 0.07, 1.0
"""Minimum lead of an ink, and the limit to which it is clipped: aliases in subsampled JPEG chroma have the highest."""
INK_SCORE, BLACK_SCORE = 0.3, 2.0
"""Score of an ink, to which its lead is added, and of black, from which the spread of the channels is subtracted. With
these a single screen is black unless one channel leads clearly."""
GRAY_CHROMA = 6.0
"""Levels; a scan with a lower mean spread of the channels is printed in black only."""


class Screen(NamedTuple):
    """A detected screen."""

    pitch: float  # pixels
    angle: float  # degrees counter-clockwise, 0..90 for dots, 0..180 for lines
    is_line: bool  # line screen instead of a dot screen
    strength: float  # peak-to-median ratio
    amplitude: float = 0.0  # of the fundamental, RMS over the scan, levels; 0: unknown


def find_screens(bgr: np.ndarray) -> dict[str, Screen]:
    """Screens of (H, W, 3) BGR uint8 by ink of INKS; empty for FM halftones and photographs.

    The strongest screen gives the pitch, nearly equal for all inks. Peaks at this pitch are assigned to inks by their
    channels: cyan is strongest in red, magenta in green, yellow in blue, black equal in all. Inks that share an angle
    are reported as black. Dot pitches above 10 pixels are detected at half and quarter size, where they replace a
    weaker overtone found at full size. Raises ValueError for another dtype or shape.
    """
    if bgr.ndim != 3 or bgr.shape[2] != 3 or bgr.dtype != np.uint8:
        raise ValueError(f"expected uint8 (H, W, 3), not {bgr.dtype} {bgr.shape}")
    found, small = _find_at_size(bgr), bgr
    for shrink in (2, 4):
        small = cv2.pyrDown(small)  # its low-pass prevents aliases of fine screens
        if min(small.shape[:2]) < MIN_SHRUNK_SIDE:
            break
        large = {ink: screen._replace(pitch=screen.pitch * shrink) for ink, screen in _find_at_size(small).items()}
        if _replaces(large, found):
            found = large
    return found


def strongest_screen(gray: np.ndarray) -> Screen | None:
    """The strongest screen of a block, (H, W) uint8; None without one, and for sides below 32 pixels."""
    side = min(gray.shape)
    return None if side < 32 else _strongest_screen(_amplitude_spectrum(gray, side), np.ones((side, side), bool))


def common_pitch(screens: dict[str, Screen]) -> float | None:
    """Pitch in pixels of black, which is measured in three channels, else of the strongest screen; None without any."""
    if not screens:
        return None
    return (screens.get("black") or max(screens.values(), key=lambda screen: screen.strength)).pitch


def shrink_for(screens: dict[str, Screen]) -> int:
    """Factor 1, 2 or 4 by which to shrink a scan with these screens before restoration."""
    pitch = common_pitch(screens) or 0
    return next((shrink for shrink in (1, 2) if pitch <= RESTORED_PITCH * shrink), 4)


def _replaces(large: dict[str, Screen], found: dict[str, Screen]) -> bool:
    """Whether `large`, detected in a shrunk scan, is a dot screen and `found` at most its overtone."""
    pitch = common_pitch(large) or 0
    amplitude, other = (max((screen.amplitude for screen in each.values()), default=0.0) for each in (large, found))
    # Lines of such a pitch may be lines of text.
    if pitch < MIN_LARGE_PITCH or amplitude < MIN_LARGE_AMPLITUDE or any(screen.is_line for screen in large.values()):
        return False
    return not found or (pitch < OVERTONE_PITCH * common_pitch(found) and amplitude > OVERTONE_GAIN * other)


def _find_at_size(bgr: np.ndarray) -> dict[str, Screen]:
    """Screens of (H, W, 3) with pitches up to MAX_PITCH."""
    side = min(PATCH, *bgr.shape[:2])
    if side < 32:
        return {}
    everywhere = np.ones((side, side), bool)
    sample = bgr[:: max(1, bgr.shape[0] // 1024), :: max(1, bgr.shape[1] // 1024)].astype(np.int16)
    if np.ptp(sample, axis=2).mean() < GRAY_CHROMA:
        only = _strongest_screen(_amplitude_spectrum(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), side), everywhere)
        return {} if only is None else {"black": only}
    channels = np.stack([_amplitude_spectrum(bgr[..., i], side) for i in (2, 1, 0)])  # red, green, blue, as INKS
    first = _strongest_screen(channels.min(axis=0), everywhere)
    for number, own in enumerate(channels):
        if first is None:
            others = np.delete(channels, number, axis=0).max(axis=0)
            first = _strongest_screen(own, own > MIN_CHANNEL_RATIO * cv2.dilate(others, np.ones((3, 3), np.uint8)))
    return {} if first is None else _screens_by_ink(channels, first)


def _screens_by_ink(channels: np.ndarray, first: Screen) -> dict[str, Screen]:
    """Screens at the pitch of `first`, assigned to inks; `first` as black where no peak can be assigned.

    channels: amplitudes (3, side, side) in red, green, blue.
    A pitch below 2 pixels is above the Nyquist frequency: `first` may be the alias of a finer screen, and each ink then
    has another apparent pitch. The true pitch is the one with the most and strongest peaks.
    """
    tried = [(pitch, *_screens_at(channels, pitch, first.is_line)) for pitch in _pitches(first)]
    pitch, screens, evidence = max(tried, key=lambda each: each[2])
    if pitch < first.pitch and not first.is_line:  # `first` may also be the alias of a (1, 1) harmonic
        fundamental, its_evidence = _screens_at(channels, math.sqrt(2) * pitch, is_line=False)
        own, harmonic = (max((s.amplitude for s in each.values()), default=0) for each in (fundamental, screens))
        if own > FUNDAMENTAL_SHARE * harmonic and its_evidence > FUNDAMENTAL_SHARE * evidence:
            screens = fundamental
    return screens or {"black": first}


def _pitches(screen: Screen) -> list[float]:
    """Pitch of a screen, and those of the screens of which it would be the alias."""
    fx, fy = fundamentals(*screen[:3])[0]
    aliased = (np.hypot(fx - np.copysign(1, fx), fy), np.hypot(fx, fy - np.copysign(1, fy)))
    return [screen.pitch, *(float(1 / frequency) for frequency in aliased if MIN_PITCH * frequency < 1)]


def _screens_at(channels: np.ndarray, pitch: float, is_line: bool) -> tuple[dict[str, Screen], float]:
    """Screens of a pitch by ink, and the evidence for the pitch: log strengths of its peaks, at most one per ink.

    Frequencies above Nyquist are searched at their aliases.
    """
    side = channels.shape[1]
    y, x, samples = _ring(side, pitch, is_line)
    within = np.zeros((side, side), bool)
    within.flat[samples] = True
    ratios = np.stack([_peak_ratio(channel, within) for channel in channels])
    if not is_line:
        ratios = np.sqrt(ratios * np.stack([_rotated_90(ratio) for ratio in ratios]))
    ratios = ratios.reshape(3, -1)[:, samples[0]]
    remaining = ratios.max(axis=0)
    peaks, strengths, amplitudes = [], [], []
    while len(peaks) < MAX_SCREENS and remaining.max() > MIN_PEAK_RATIO_AT_PITCH:
        number = remaining.argmax()
        down, along = int(y[number]), int(x[number])
        peaks.append((down, along))
        strengths.append(ratios[:, number].max())
        amplitudes.append([_peak_amplitude(channel, down, along, is_line) for channel in channels])
        symmetric = [(down, along), (-down, -along)]
        if not is_line:
            symmetric += [(-along, down), (along, -down)]
        for down, along in symmetric:
            apart = ((distance + side // 2) % side - side // 2 for distance in (y - down, x - along))
            remaining[np.hypot(*apart) < PEAK_RADIUS] = 0
    found = {}
    for ink, number in _assign_inks(amplitudes, strengths).items():
        spectrum = channels.min(axis=0) if ink == "black" else channels[INKS.index(ink)]
        found[ink] = _screen(spectrum, *peaks[number], is_line, strengths[number])
    return found, float(np.log(np.sort(strengths)[-len(INKS) :] / MIN_PEAK_RATIO_AT_PITCH).sum())


def _ring(side: int, pitch: float, is_line: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets y and x (N,) from frequency 0 of one frequency of every screen of a pitch.

    The third array, (2 or 4, N), has the flat indices of the screen's frequencies in a spectrum of (side, side), first
    that of (y, x) itself. Of frequencies that are aliases of each other, the one closest to the pitch is kept.
    """
    half = side * 3 // 4
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    difference = abs(np.hypot(x, y) / side * pitch - 1)
    near = (difference < SAME_PITCH) & (x >= 0) & (is_line | (y <= 0))
    order = np.argsort(difference[near], kind="stable")
    y, x = y[near][order], x[near][order]
    turns = [(y, x), (-y, -x)] + [(-x, y), (x, -y)] * (not is_line)
    samples = np.stack([(down + side // 2) % side * side + (along + side // 2) % side for down, along in turns])
    _, first = np.unique(samples.min(axis=0), return_index=True)
    return y[first], x[first], samples[:, first]


def _assign_inks(amplitudes: list[list[float]], strengths: list[float]) -> dict[str, int]:
    """Index of each ink's screen, from the amplitudes of each screen in red, green and blue; inks may be missing.

    The assignment maximizes the sum of scores: leads for coloured inks, evenness for black, weighted by log strength.
    """
    scores = np.zeros((len(INKS), len(amplitudes) + len(INKS)))  # the additional columns: ink not present
    for number, (levels, strength) in enumerate(zip(np.log(amplitudes), strengths, strict=True)):
        weight = np.log(2 * strength / MIN_PEAK_RATIO_AT_PITCH)
        for ink in range(3):
            lead = levels[ink] - np.delete(levels, ink).max()
            scores[ink, number] = weight * (INK_SCORE + min(lead, MAX_LEAD)) if lead > MIN_LEAD else -1
        scores[3, number] = weight * (BLACK_SCORE - np.ptp(levels))
    pairs = zip(*linear_sum_assignment(scores, maximize=True), strict=True)
    return {INKS[ink]: number for ink, number in pairs if number < len(amplitudes) and scores[ink, number] > 0}


def _strongest_screen(spectrum: np.ndarray, allowed: np.ndarray) -> Screen | None:
    """The screen with the highest peak-to-median ratio at `allowed` samples of amplitudes (side, side), or None."""
    side = spectrum.shape[0]
    _, x, radius = _grid(side)
    ratio = _peak_ratio(spectrum, (radius >= 1 / MAX_PITCH) & (radius <= 1 / MIN_PITCH))
    # A dot grid has two orthogonal peaks, a line screen one.
    pair = np.sqrt(ratio * _rotated_90(ratio))
    unsearched = (x < 0) | ~allowed  # x < 0 by conjugate symmetry
    ratio[unsearched] = pair[unsearched] = 0
    pair_peak, single_peak = (np.unravel_index(each.argmax(), each.shape) for each in (pair, ratio))
    is_line = bool(pair[pair_peak] < LINE_RATIO * ratio[single_peak])
    at, strength = (single_peak, ratio[single_peak]) if is_line else (pair_peak, pair[pair_peak])
    if strength < MIN_PEAK_RATIO:
        return None
    if not is_line:
        at = _fundamental(_fundamental(at, pair), pair)  # twice: a second harmonic is the diagonal of a diagonal
    return _screen(spectrum, at[0] - side // 2, at[1] - side // 2, is_line, strength)


def _screen(spectrum: np.ndarray, y: int, x: int, is_line: bool, strength: float) -> Screen:
    """The screen with a peak at offset (y, x) from frequency 0."""
    side = spectrum.shape[0]
    points = [_subsample_peak(spectrum, y, x)]
    if not is_line:
        fy, fx = points[0]
        other = _subsample_peak(spectrum, round(-fx * side), round(fy * side))
        points.append((other[1], -other[0]))
    fy, fx = np.mean(points, axis=0)
    angle = np.degrees(np.arctan2(-fy, fx)) + 90 * is_line  # lines are perpendicular to their frequency vector
    amplitude = _peak_amplitude(spectrum, y, x, is_line) / _unit_amplitude(side)
    angle = float(angle % (180 if is_line else 90))
    return Screen(float(1 / np.hypot(fy, fx)), angle, is_line, float(strength), amplitude)


def _amplitude_spectrum(plane: np.ndarray, side: int) -> np.ndarray:
    """RMS amplitudes (side, side) of a Welch periodogram, frequency 0 in the centre."""
    return np.fft.fftshift(np.sqrt(mean_power(plane, side, STEP, MAX_PATCHES, np.float32))) + 1e-3


def _unit_amplitude(side: int) -> float:
    """Spectral amplitude of a cosine of one level under the Hann window."""
    return side**2 / 8


@cache
def _grid(side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row and column offsets from frequency 0 in samples, and the radius in cycles per pixel, each (side, side)."""
    y, x = np.mgrid[:side, :side] - side // 2
    return y, x, np.hypot(x, y) / side


def _peak_ratio(spectrum: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Peak-to-median ratios, medians over rings of two samples around frequency 0; zero outside `within`."""
    side = spectrum.shape[0]
    ring, members = _rings(side)
    medians = np.array([np.median(spectrum.ravel()[each]) for each in members])[ring] + 1e-3
    # Blur may empty the spectrum, where the aliases of resampling then have high ratios to a median near zero.
    floor = max(MEDIAN_FLOOR * spectrum[within].max(), MEDIAN_FLOOR_LEVELS * _unit_amplitude(side))
    return np.where(within, spectrum / np.maximum(medians, floor), 0)


@cache
def _rings(side: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Number of each sample's ring, (side, side), and the flat indices of each ring's samples."""
    y, x, _ = _grid(side)
    ring = np.minimum(np.hypot(x, y), side // 2 - 1).astype(int) // 2
    return ring, [np.flatnonzero(ring == number) for number in range(ring.max() + 1)]


def _peak_amplitude(spectrum: np.ndarray, y: int, x: int, is_line: bool) -> float:
    """Highest amplitude within a sample of offset (y, x); for dots the mean with that of the orthogonal peak."""
    peaks = [_neighbours(spectrum, dy, dx).max() for dy, dx in ((y, x),) + ((-x, y),) * (not is_line)]
    return float(np.mean(peaks))


def _rotated_90(ratio: np.ndarray) -> np.ndarray:
    """Ratios rotated by 90° about frequency 0, each the maximum of its 3 × 3 neighbourhood and its conjugate."""
    side = ratio.shape[0]
    whole = np.maximum(ratio, np.roll(ratio[::-1, ::-1], (1, 1) if side % 2 == 0 else 0, axis=(0, 1)))
    whole = cv2.dilate(whole.astype(np.float32), np.ones((3, 3), np.uint8))
    y, x, _ = _grid(side)
    return whole[(side // 2 - x) % side, (side // 2 + y) % side]


def _fundamental(at: tuple[int, int], pair: np.ndarray) -> tuple[int, int]:
    """Replace `at` by the peak whose (1, 1) or (2, 0) harmonic it is, at 1/√2 or 1/2 of the radius, if there is one."""
    side = pair.shape[0]
    y, x = at[0] - side // 2, at[1] - side // 2
    candidates, places = [], [((y + x) / 2, (x - y) / 2), ((y - x) / 2, (x + y) / 2)]
    if side >= PATCH:  # in smaller blocks image content of twice the period is not rare
        places.append((y / 2, x / 2))
    for fy, fx in places:
        row, column = round(fy) + side // 2, round(fx) + side // 2
        window = pair[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        if window.size and window.max() > min(0.3 * pair[at], MIN_PEAK_RATIO):
            inner = np.unravel_index(window.argmax(), window.shape)
            candidates.append((max(row - 2, 0) + inner[0], max(column - 2, 0) + inner[1]))
    return max(candidates, key=lambda place: pair[place], default=at)


def _subsample_peak(spectrum: np.ndarray, y: int, x: int) -> tuple[float, float]:
    """(fy, fx) in cycles per pixel of the peak near sample (y, x), by parabolic interpolation of log amplitudes."""
    side = spectrum.shape[0]
    down, along = np.unravel_index(_neighbours(spectrum, y, x).argmax(), (3, 3))
    y, x = y + down - 1, x + along - 1
    levels = np.log(_neighbours(spectrum, y, x))
    offsets = []
    for low, top, high in (levels[:, 1], levels[1]):
        curvature = low - 2 * top + high
        offsets.append(float(np.clip(0.5 * (low - high) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0)
    return (y + offsets[0]) / side, (x + offsets[1]) / side


def _neighbours(spectrum: np.ndarray, y: int, x: int) -> np.ndarray:
    """(3, 3) samples around offset (y, x) from frequency 0; the spectrum is periodic."""
    side = spectrum.shape[0]
    near = np.arange(-1, 2) + side // 2
    return spectrum[np.ix_((y + near) % side, (x + near) % side)]
