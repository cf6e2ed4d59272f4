"""Simulated prints and scans: effect of each parameter, registration, and reproducibility."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from descreen.config import ScreensConfig
from descreen.printing import FM_METHODS, Printing, draw_printing, ground_truth, print_and_scan
from halftone.light import linear_light

PLAIN = Printing(
    method="round",
    pitch=4.0,
    angles=(15.0, 75.0, 0.0, 45.0),
    offsets=((0.0, 0.0),) * 4,
    gray=False,
    clean=False,
    under_colour_removal=1.0,
    dot_gain=0.0,
    misregistration=((0.0, 0.0),) * 4,
    ink_noise=0.0,
    solids=None,
    paper=(1.0, 1.0, 1.0),
    grain=0.0,
    blur=0.0,
    scale=1.0,
    unsharp=None,
    threshold=None,
    jpeg=None,
    seed=0,
)


SOLID_LIGHT = ((0.75, 0.35, 0.01), (0.2, 0.01, 0.78), (0.01, 0.84, 1.0), (0.03, 0.03, 0.03))


@pytest.fixture(scope="module")
def photo():
    cells = np.random.default_rng(1).integers(40, 216, (5, 6, 3)).astype(np.uint8)
    return cv2.resize(cells, (144, 120), interpolation=cv2.INTER_CUBIC)


def light(levels):
    return np.dstack([linear_light(np.ascontiguousarray(levels[..., i])) / 255 for i in range(3)])


def blurred(picture):
    return cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 4)[12:-12, 12:-12]


@pytest.mark.parametrize("method", ["round", "ellipse", "square", "diamond", "line", *FM_METHODS])
@pytest.mark.parametrize("gray", [False, True])
def test_a_low_passed_scan_matches_the_photograph(photo, method, gray):
    printing = replace(PLAIN, method=method, gray=gray)
    scan = print_and_scan(photo, printing)
    assert scan.shape == photo.shape and scan.dtype == np.uint8
    assert np.abs(blurred(scan) - blurred(ground_truth(photo, printing))).mean() < 6
    assert np.abs(scan.astype(int) - photo).mean() > 20
    if gray:
        assert (np.ptp(scan.astype(int), axis=2) == 0).all()


@pytest.mark.parametrize("scale", [0.8, 1.2])
def test_scanner_resolution_causes_no_shift(photo, scale):
    scan = print_and_scan(photo, replace(PLAIN, scale=scale))
    shift, _ = cv2.phaseCorrelate(blurred(scan).mean(2), blurred(photo).mean(2))
    assert max(map(abs, shift)) < 0.15


def test_the_finest_pitches_render_at_low_scanner_resolution(photo):
    for pitch in np.linspace(1.5, 3, 50):
        assert print_and_scan(photo[:8, :8], replace(PLAIN, pitch=float(pitch), scale=0.51)).shape == (8, 8, 3)


def test_each_degradation_changes_the_scan(photo):
    plain = print_and_scan(photo, PLAIN).astype(np.float32)

    def difference(**flaw):
        return print_and_scan(photo, replace(PLAIN, **flaw)).astype(np.float32) - plain

    assert difference(dot_gain=0.1).mean() < -2
    assert np.abs(difference(misregistration=((1.5, 0.0),) * 4)).mean() > 1
    assert difference(paper=(0.9, 1.0, 1.0)).mean(axis=(0, 1)) == pytest.approx([-11, 0, 0], abs=4)
    assert difference(grain=5.0)[100:, 100:].std() == pytest.approx(4, abs=1.5)
    assert np.abs(difference(ink_noise=0.2)).mean() > 1
    assert print_and_scan(photo, replace(PLAIN, blur=1.5)).std() < 0.8 * plain.std()
    assert 0 < np.abs(difference(jpeg=60)).mean() < 45
    assert print_and_scan(photo, replace(PLAIN, blur=0.8, unsharp=(1.0, 1.5))).std() > (
        1.1 * print_and_scan(photo, replace(PLAIN, blur=0.8)).std()
    )
    assert np.abs(difference(offsets=((2.0, 1.0),) * 4)).mean() > 10


@pytest.mark.parametrize("gray", [False, True])
def test_process_inks_are_averaged_in_linear_light(photo, gray):
    printing = replace(PLAIN, gray=gray, solids=SOLID_LIGHT)
    scan, truth = print_and_scan(photo, printing), ground_truth(photo, printing)
    assert np.abs(blurred(light(scan)) - blurred(light(truth))).mean() < 0.015
    assert (blurred(truth) - blurred(scan)).mean() > 5, "the mean of the levels is darker"
    black = np.zeros((32, 32, 3), np.uint8)
    assert ground_truth(black, replace(printing, under_colour_removal=1.0)).mean() == pytest.approx(48, abs=1)


def test_a_bilevel_scan_has_two_levels(photo):
    scan = print_and_scan(photo, replace(PLAIN, gray=True, blur=0.7, grain=3.0, threshold=120.0))
    assert set(np.unique(scan)) == {0, 255} and (np.ptp(scan, axis=2) == 0).all()


def test_the_shares_of_inks_and_scanners_leave_the_rest_of_the_printing_as_it_was():
    config = ScreensConfig(gray=0.5)
    new = config.model_copy(update={"process_inks": 0.5, "sharpened": 0.5, "bilevel": 0.5})
    before, drawn = ([draw_printing(c, np.random.default_rng(seed)) for seed in range(200)] for c in (config, new))
    as_before = {"solids": None, "unsharp": None, "threshold": None}
    assert all(replace(now, **as_before, jpeg=then.jpeg) == then for now, then in zip(drawn, before, strict=True))
    assert np.mean([printing.unsharp is not None for printing in drawn]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([printing.solids is not None for printing in drawn if not printing.clean]) == pytest.approx(
        0.5, abs=0.12
    )
    bilevel = [printing for printing in drawn if printing.threshold]
    assert len(bilevel) > 10
    assert all(printing.gray and not printing.solids and printing.jpeg is None for printing in bilevel)


def test_a_clean_print_is_binary_despite_degradations(photo):
    flaws = {"grain": 9.0, "blur": 2.0, "jpeg": 20, "paper": (0.5, 0.5, 0.5), "scale": 0.7, "dot_gain": 0.3}
    clean = print_and_scan(photo, replace(PLAIN, clean=True, gray=True, **flaws))
    assert set(np.unique(clean)) == {0, 255}


def test_sampled_printings_respect_the_config_and_cover_every_method():
    config = ScreensConfig(pitch_min=3.0, pitch_max=6.0, jpeg=70)
    drawn = [draw_printing(config, np.random.default_rng(seed)) for seed in range(400)]
    assert all(3 <= printing.pitch <= 6 for printing in drawn)
    assert {printing.method for printing in drawn} == {"round", "ellipse", "square", "diamond", "line", *FM_METHODS}
    assert np.mean([printing.is_fm for printing in drawn]) == pytest.approx(0.3, abs=0.08)
    assert np.mean([printing.gray for printing in drawn]) == pytest.approx(0.3, abs=0.08)
    assert min(printing.jpeg for printing in drawn if printing.jpeg) >= 70
    assert len({printing.pitch for printing in drawn}) == 400


def test_the_flawed_share_affects_only_press_degradations():
    flawed, sound = (
        [draw_printing(ScreensConfig(flawed=share), np.random.default_rng(seed)) for seed in range(40)]
        for share in (1.0, 0.0)
    )
    none = {"dot_gain": 0.0, "ink_noise": 0.0, "paper": (1.0, 1.0, 1.0), "scale": 1.0}
    none["misregistration"] = ((0.0, 0.0),) * 4
    assert [replace(printing, **none) for printing in flawed] == sound
    assert not any(printing in sound for printing in flawed)
    mixed = [draw_printing(ScreensConfig(flawed=0.5), np.random.default_rng(seed)) for seed in range(40)]
    assert 10 < sum(printing in sound for printing in mixed) < 30


def test_a_scan_is_a_function_of_the_printing(photo):
    config = ScreensConfig()
    for seed in range(6):
        printing = draw_printing(config, np.random.default_rng(seed))
        assert printing == draw_printing(config, np.random.default_rng(seed))
        assert np.array_equal(print_and_scan(photo, printing), print_and_scan(photo, printing))


def test_newsprint_has_wider_limits_and_without_it_the_prints_are_as_before():
    def draw(count=64, **limits):
        config = ScreensConfig(flawed=0.2, clean=0.0, **limits)
        return [draw_printing(config, np.random.default_rng(seed)) for seed in range(count)]

    newsprint = draw(newsprint=1.0)
    assert max(abs(printing.dot_gain) for printing in newsprint) > ScreensConfig().dot_gain
    assert min(printing.paper[0] for printing in newsprint) < 1 - ScreensConfig().tint
    assert all(printing.dot_gain for printing in newsprint), "every press of newspapers has flaws"
    assert draw(newsprint=0.0) == draw()
    mixed = [printing in newsprint for printing in draw(newsprint=0.5)]
    assert 0.3 < np.mean(mixed) < 0.7
