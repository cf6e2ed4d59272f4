"""Visibility of residual screens, compared with gratings whose visibility has a closed form."""

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from descreen.config import ScreensConfig
from descreen.printing import draw_printing, print_and_scan
from descreen.visibility import PIXELS_PER_DEGREE, screen_frequencies, screen_visibility, sensitivity

AM = ScreensConfig(line=0.0, fm=0.0, gray=1.0, clean=1.0, pitch_min=4.0, pitch_max=4.0)


def printing_of(config=AM, seed=0):
    return draw_printing(config, np.random.default_rng(seed))


def srgb(light):
    """Linear light 0..1 → sRGB levels, dithered so that rounding keeps the mean."""
    level = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    noise = np.random.default_rng(1).random(level.shape)
    return np.repeat(np.floor(level + noise)[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("frequency", [(0.25, 0.0), (0.13, 0.21), (0.2, -0.1)])
@pytest.mark.parametrize("contrast", [0.05, 0.2])
def test_the_visibility_of_a_grating_is_contrast_times_sensitivity(frequency, contrast):
    y, x = np.mgrid[:192, :256]
    wave = np.cos(2 * np.pi * (frequency[0] * x + frequency[1] * y) + 0.4)
    plain, grating = srgb(0.3 + 0 * wave), srgb(0.3 * (1 + contrast * wave))
    expected = contrast * sensitivity(math.hypot(*frequency))
    assert screen_visibility(grating, plain, [frequency]) == pytest.approx(expected, rel=0.05)
    assert screen_visibility(grating, plain, [(0.07, 0.35)]) < 0.1 * expected
    assert screen_visibility(plain, plain, [frequency]) == 0
    assert screen_visibility(grating, grating, [frequency]) == 0


def test_the_sensitivity_peaks_near_8_cycles_per_degree_at_250():
    # The peak of 2.6 (0.0192 + u) exp(-u^1.1) lies where 1 = 1.1 u^0.1 (0.0192 + u), near 8 cycles per degree.
    peak = max(range(1, 300), key=lambda tenth: sensitivity(tenth / 10 / PIXELS_PER_DEGREE)) / 10
    u = 0.114 * peak
    assert 1.1 * u**0.1 * (0.0192 + u) == pytest.approx(1, rel=0.02) and 7 < peak < 9
    assert sensitivity(peak / PIXELS_PER_DEGREE) == pytest.approx(250, rel=0.03)


def test_screen_frequencies_match_the_spectral_peaks_of_a_print():
    for seed in range(4):
        printing = printing_of(seed=seed)
        scan = print_and_scan(np.full((256, 256, 3), 200, np.uint8), printing)[..., 0].astype(float)
        power = np.abs(np.fft.fft2((scan - scan.mean()) * np.outer(np.hanning(256), np.hanning(256)))) ** 2
        y, x = np.unravel_index(power[:, :128].argmax(), (256, 128))
        y = y - 256 if y >= 128 else y
        peaks = 256 * np.array(screen_frequencies(printing))
        assert min(np.hypot(*(peaks - (x, y)).T).min(), np.hypot(*(peaks + (x, y)).T).min()) < 1.5, printing


def test_am_screens_are_visible_and_blurred_photographs_are_not():
    photo = cv2.resize(np.random.default_rng(2).integers(40, 216, (6, 6, 3)).astype(np.uint8), (256, 256))
    printing = printing_of(ScreensConfig(line=0.0, fm=0.0, gray=0.0, clean=1.0, pitch_min=3.0, pitch_max=6.0))
    frequencies = screen_frequencies(printing)
    assert screen_visibility(print_and_scan(photo, printing), photo, frequencies) > 10
    assert screen_visibility(cv2.GaussianBlur(photo, (0, 0), 2), photo, frequencies) < 0.1
    assert screen_frequencies(printing_of(ScreensConfig(am=0.0, line=0.0))) == []


def test_inks_at_one_angle_contribute_once():
    printing = printing_of(ScreensConfig(line=0.0, fm=0.0, gray=0.0, pitch_min=4.0, pitch_max=4.0))
    sets = ((15.0, 75.0, 0.0, 45.0), (45.0,) * 4)
    apart, together = (screen_frequencies(replace(printing, angles=angles)) for angles in sets)
    assert len(together) == 6 < len(apart)


def test_residuals_on_black_are_measured_against_a_thousandth_of_white():
    x = np.arange(256)
    wave = np.rint(2 + 2 * np.cos(2 * np.pi * x / 4)).astype(np.uint8)  # 0 to 4 levels, linear in light there
    left = np.repeat(np.tile(wave, (256, 1))[..., None], 3, axis=2)
    seen = screen_visibility(left, np.zeros_like(left), [(0.25, 0.0)])
    assert seen == pytest.approx(sensitivity(0.25) * (2 / 12.92 / 255) / 1e-3, rel=0.02)
