"""The notch filter removes residual screens and preserves everything else."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from descreen import notch
from descreen.lattice import lattice
from descreen.notch import TILE, WIDTH, notch_screens
from descreen.screen_finder import Screen
from halftone.inks import INKS
from halftone.screens import am_screen
from images.files import read_image
from metrics.quality import psnr

PHOTO = Path(__file__).parents[2] / "test_imgs/flower.jpg"


def waves(size, frequencies, amplitude=12):
    y, x = np.mgrid[: size[0], : size[1]]
    picture = 128 + sum(amplitude * np.cos(2 * np.pi * (fx * x + fy * y) + 1) for fx, fy in frequencies)
    return np.repeat(np.rint(picture)[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(("pitch", "angle", "is_line"), [(4.3, 30.0, False), (6.0, 71.0, False), (3.1, 100.0, True)])
def test_screen_frequencies_are_removed_across_tiles(pitch, angle, is_line):
    picture = waves((200, TILE + 90), lattice(pitch, angle, is_line)[:2])
    cleaned = notch_screens(picture, {"black": Screen(pitch, angle, is_line, 50.0)})
    # Reflection at the border breaks the periodicity.
    assert np.abs(cleaned[48:-48, 48:-48].astype(int) - 128).max() <= 1 < 10 < np.abs(picture.astype(int) - 128).max()


def test_undetected_inks_are_filtered_at_multiples_of_15_degrees():
    picture = waves((160, 160), lattice(4.0, 75.0)[:2])
    found = {ink: Screen(4.0, angle, False, 50.0) for ink, angle in zip(INKS, (15.0, 65.0, 0.0, 45.0), strict=True)}
    some = {ink: found[ink] for ink in ("cyan", "black")}
    assert np.abs(notch_screens(picture, some)[48:-48, 48:-48].astype(int) - 128).max() <= 1
    for complete in (found, {"black": found["black"]}):
        kept = notch_screens(picture, complete).astype(int) - picture
        assert np.abs(kept[48:-48, 48:-48]).max() <= 1, "no ink is missing, so no further frequency may be removed"


def test_a_strong_residual_of_varying_amplitude_gets_a_wider_notch(monkeypatch):
    frequencies = lattice(4.0, 30.0)[:2]
    y, x = np.mgrid[:200, :200] - 100
    trace = (waves((200, 200), frequencies, 40).astype(float) - 128) * np.exp(-(x**2 + y**2) / 400)[..., None]
    picture, found = (np.rint(128 + trace)).astype(np.uint8), {"black": Screen(4.0, 30.0, False, 50.0)}
    left = [np.abs(notch_screens(picture, found).astype(int) - 128).max()]
    monkeypatch.setattr(notch, "STRONG_PEAK_RATIO", np.inf)
    left.append(np.abs(notch_screens(picture, found).astype(int) - 128).max())
    assert left[0] < 0.6 * left[1], left


def test_edges_do_not_ring(monkeypatch):
    picture = np.full((200, 200, 3), 60, np.uint8)
    picture[:, 100:112] = 200
    upright = {"black": Screen(5.0, 0.0, False, 50.0)}
    beside = (slice(48, -48), slice(60, 94))
    changed = [np.abs(notch_screens(picture, upright).astype(int) - picture)[beside].mean()]
    monkeypatch.setattr(notch, "_presence", lambda bgr, cut: 1)
    changed.append(np.abs(notch_screens(picture, upright).astype(int) - picture)[beside].mean())
    assert changed[0] < 0.3 * changed[1] and changed[1] > 1, changed


def test_other_frequencies_are_kept_and_no_screen_means_no_change():
    picture = waves((160, 160), [(0.25 - 5 * WIDTH, 0.0), (0.02, 0.06)])
    cleaned = notch_screens(picture, {"black": Screen(4.0, 0.0, True, 50.0)})
    assert np.abs(cleaned.astype(int) - picture)[48:-48, 48:-48].max() <= 1
    assert notch_screens(picture, {}) is picture


def test_a_photograph_is_nearly_unchanged():
    photo = read_image(PHOTO).bgr[:300, :300]
    assert psnr(photo, notch_screens(photo, {"black": Screen(4.0, 45.0, False, 50.0)})) > 35


def test_the_lattice_matches_the_spectrum_of_am_screen():
    screen = am_screen(np.full((256, 256), 200, np.uint8), pitch=5.3, angle=22.0, supersample=3).astype(float)
    window = np.outer(np.hanning(256), np.hanning(256))
    y, x = np.mgrid[:256, :256]
    amplitudes = [
        abs((screen * window * np.exp(-2j * np.pi * (fx * x + fy * y))).sum()) for fx, fy in lattice(5.3, 22.0)
    ]
    elsewhere = abs((screen * window * np.exp(-2j * np.pi * (0.07 * x + 0.21 * y))).sum())
    assert min(amplitudes[:2]) > 100 * elsewhere


def test_a_screen_finer_than_two_pixels_is_where_the_scan_shows_it():
    """Rendered four times as fine and averaged by the scanner's aperture."""
    fine = am_screen(np.full((1024, 1024), 200, np.uint8), pitch=4 * 1.7, angle=15.0, supersample=2)
    scan = cv2.resize(fine, (256, 256), interpolation=cv2.INTER_AREA).astype(float)
    window = np.outer(np.hanning(256), np.hanning(256))
    spectrum = np.abs(np.fft.fft2((scan - scan.mean()) * window))
    peak = np.unravel_index(spectrum[:, :128].argmax(), (256, 128))
    at = (peak[1] / 256, peak[0] / 256 - (peak[0] >= 128))
    (first, second) = lattice(1.7, 15.0)[:2]
    known = [first, second, *[(-fx, -fy) for fx, fy in (first, second)]]
    assert min(np.hypot(at[0] - fx, at[1] - fy) for fx, fy in known) < 2 / 256
