"""Screen-phase maps: exact from the printing parameters, estimated from the scan."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from descreen import waves
from descreen.config import ScreensConfig
from descreen.printing import DOTS, draw_printing, print_and_scan
from descreen.screen_finder import find_screens
from descreen.waves import EstimatedWaves, concat_waves, exact_waves
from halftone.inks import INKS

SIZE = (256, 320)


@pytest.fixture(scope="module")
def photo():
    colours = np.random.default_rng(5).integers(40, 216, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(colours, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def printing(method="round", seed=0, **changes):
    config = ScreensConfig(am=1, line=0, fm=0, gray=0, clean=0, flawed=0, blur=0.5, any_angle=0, pitch_min=3)
    drawn = draw_printing(config, np.random.default_rng(seed))
    fixed = {"method": method, "jpeg": None, "angles": (15.0, 75.0, 0.0, 45.0)}
    return replace(drawn, **fixed | changes)


def whole(scan, screens=None):
    found = EstimatedWaves(scan, find_screens(scan) if screens is None else screens)
    return found.crop((slice(0, scan.shape[0]), slice(0, scan.shape[1])))


def correlation(a, b):
    """(4,) correlation coefficient per ink."""
    return np.array([np.corrcoef(a[..., ink].ravel(), b[..., ink].ravel())[0, 1] for ink in range(len(INKS))])


@pytest.mark.parametrize("method", [*DOTS, "line"])
@pytest.mark.parametrize("changes", [{}, {"clean": True}, {"scale": 1.218}])
def test_estimated_waves_match_the_exact_ones(photo, method, changes):
    how = printing(method, len(method), **changes)
    assert correlation(exact_waves(how, *SIZE), whole(print_and_scan(photo, how))).min() > 0.97


@pytest.mark.parametrize("method", [*DOTS, "line"])
def test_highlight_dots_lie_at_the_maxima_of_the_wave(method):
    light = np.full((*SIZE, 3), 225, np.uint8)
    how = printing(method, gray=True, clean=True)
    wave, ink = exact_waves(how, *SIZE)[..., 3], print_and_scan(light, how)[..., 0] == 0
    assert ink.any() and wave[ink].min() > np.quantile(wave, 0.7)
    assert wave.min() < -0.9 and wave.max() > 0.9


def test_estimated_waves_follow_a_warped_page(photo):
    how = printing(pitch=4.7)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    bent = (x + 1.5 * np.sin(y / 60), y + 1.5 * np.sin(x / 70))
    scan, expected = (
        cv2.remap(picture, *bent, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        for picture in (print_and_scan(photo, how), exact_waves(how, *SIZE))
    )
    assert correlation(expected, exact_waves(how, *SIZE)).max() < 0.8
    assert correlation(expected, whole(scan)).min() > 0.93


def test_windows_and_bands_equal_the_whole_image(photo, monkeypatch):
    scan = print_and_scan(photo, printing())
    screens = find_screens(scan)
    everything = whole(scan, screens)
    part = EstimatedWaves(scan, screens).crop((slice(37, 200), slice(101, 320)))
    np.testing.assert_allclose(part, everything[37:200, 101:320], atol=0.02)
    monkeypatch.setattr(waves, "BAND", 64)
    np.testing.assert_allclose(whole(scan, screens), everything, atol=1e-3)


def test_inks_without_an_own_screen_have_zero_waves(photo):
    one_angle = exact_waves(printing(angles=(45.0,) * 4), *SIZE)
    assert not one_angle[..., :3].any() and one_angle[..., 3].any()
    assert not exact_waves(printing(gray=True), *SIZE)[..., :3].any()
    assert not exact_waves(printing("stucki"), *SIZE).any()
    assert not whole(photo).any()
    empty = np.full((64, 64, 3), 255, np.uint8)
    assert np.abs(whole(empty, find_screens(print_and_scan(photo, printing())))).max() < 0.01


def test_waves_are_concatenated_after_the_scan():
    found = np.random.default_rng(0).random((5, 6, 4), np.float32)
    seen = concat_waves(torch.zeros(1, 3, 5, 6), found)
    assert seen.shape == (1, 7, 5, 6) and torch.equal(seen[0, 3:], torch.from_numpy(found).permute(2, 0, 1))
