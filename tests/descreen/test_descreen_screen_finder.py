"""Pitch and angle are detected within 3 % and 2° for random screens; images without a screen give none."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from descreen.config import ScreensConfig
from descreen.evaluate import AM, FLAWED_AM
from descreen.printing import draw_printing, print_and_scan
from descreen.screen_finder import common_pitch, find_screens, shrink_for
from halftone.inks import INKS
from halftone.screens import am_cmyk, am_screen
from images.files import read_image
from images.listing import list_images

EVERY = list_images(Path(__file__).parents[2] / "test_imgs")
ANGLES = (75.0, 15.0, 0.0, 45.0)
PHOTOS = sorted((Path(__file__).parents[2] / "test_imgs").glob("*.jpg"))


@pytest.fixture(scope="module")
def photos():
    return [read_image(path).bgr[:320, :400] for path in PHOTOS]


def angle_error(found, angle):
    period = 180 if found.is_line else 90
    return abs((found.angle - angle + period / 2) % period - period / 2)


@pytest.mark.parametrize("spot", ["round", "ellipse", "square", "diamond", "line"])
def test_random_gray_screens_are_detected(photos, spot):
    random = np.random.default_rng(len(spot))
    for photo in photos:
        pitch, angle = float(np.exp(random.uniform(np.log(2), np.log(8)))), random.uniform(0, 90)
        gray = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
        screen = am_screen(gray, spot=spot, pitch=pitch, angle=angle, supersample=int(random.choice([1, 3])))
        found = find_screens(np.dstack([screen] * 3))["black"]
        assert found.is_line == (spot == "line")
        assert found.pitch == pytest.approx(pitch, rel=0.03) and angle_error(found, angle) < 2, (pitch, angle)


def test_screens_of_random_scans_are_assigned_to_the_right_inks(photos):
    random = np.random.default_rng(3)
    # Half the blur, no JPEG: chroma subsampling mixes the colours of fine dots.
    config = ScreensConfig(fm=0.0, gray=0.0, blur=0.5, jpeg=100, pitch_min=2.5, any_angle=0.5)
    inks = 0
    for number in range(2 * len(photos)):
        printing = draw_printing(config, random)
        found = find_screens(print_and_scan(photos[number % len(photos)], printing))
        assert common_pitch(found) == pytest.approx(printing.pitch, rel=0.03), printing
        for ink, screen in found.items():
            assert screen.pitch == pytest.approx(printing.pitch, rel=0.03), (ink, printing)
            assert angle_error(screen, printing.angles[INKS.index(ink)]) < 2, (ink, printing)
        inks += len(found)
    assert inks > 3.3 * 2 * len(photos)


def test_nearly_all_screens_of_jpeg_scans_are_assigned_to_the_right_inks():
    # Chroma subsampling shows every screen in every channel, some as aliases.
    right = wrong = 0
    for seed in range(24):
        photo = read_image(EVERY[seed % len(EVERY)]).bgr[:400, :400]
        printing = replace(draw_printing(FLAWED_AM, np.random.default_rng(seed)), jpeg=85, angles=ANGLES)
        for ink, screen in find_screens(print_and_scan(photo, printing)).items():
            hit = angle_error(screen, ANGLES[INKS.index(ink)]) < 2 and abs(screen.pitch / printing.pitch - 1) < 0.03
            right, wrong = right + hit, wrong + (not hit)
    assert right > 0.85 * 4 * 24 and wrong < 0.05 * 4 * 24, (right, wrong)


@pytest.mark.parametrize("seed", (*range(100, 106), 117, 127, 128, 136))
def test_the_pitch_of_degraded_scans_is_detected(seed):
    # Resampled, blurred and compressed: the spectrum also has second harmonics and aliases.
    photo = read_image(EVERY[(seed - 100) % len(EVERY)]).bgr[:400, :400]
    printing = draw_printing(FLAWED_AM, np.random.default_rng(seed))
    assert common_pitch(find_screens(print_and_scan(photo, printing))) == pytest.approx(printing.pitch, rel=0.03)


def test_a_dot_screen_is_none_of_lines_where_another_ink_covers_its_second_frequency():
    y, x = np.mgrid[:256, :256]

    def wave(fx, fy):
        return np.cos(2 * np.pi * (fx * x + fy * y))

    noise = np.random.default_rng(0).standard_normal((256, 256, 3))
    levels = np.full((256, 256, 3), 128.0) + noise
    levels[..., 1] += 10 * wave(0.25, 0.16) + 6 * wave(0.16, -0.25)  # magenta
    levels[..., 2] += 10 * wave(0.16, -0.25)  # of another screen in red
    levels[..., 0] += 10 * wave(0.03, 0.41)
    found = find_screens(np.rint(levels).astype(np.uint8))
    assert found and not any(screen.is_line for screen in found.values())
    assert found["magenta"].pitch == pytest.approx(1 / np.hypot(0.25, 0.16), rel=0.01)


def test_no_screen_is_detected_in_photographs_and_fm_halftones(photos):
    random = np.random.default_rng(4)
    for photo in photos:
        assert find_screens(photo) == {}
        assert find_screens(print_and_scan(photo, draw_printing(ScreensConfig(am=0.0, line=0.0), random))) == {}
    smooth = cv2.resize(random.integers(0, 256, (6, 6, 3)).astype(np.uint8), (150, 120))
    assert find_screens(smooth) == {}
    assert common_pitch({}) is None


@pytest.mark.parametrize(("pitch", "shrink"), [(6, 1), (8, 1), (10, 2), (12, 2), (16, 2), (20, 4)])
def test_coarse_dots_are_detected_in_the_shrunk_scan(photos, pitch, shrink):
    # Full size alone detects overtones of some: 8.5 pixels for 12, 8 for 16.
    found = find_screens(am_cmyk(read_image(EVERY[0]).bgr[: 32 * pitch, : 32 * pitch], pitch=pitch, supersample=3))
    assert common_pitch(found) == pytest.approx(pitch, rel=0.01) and angle_error(found["black"], 45.0) < 1
    assert shrink_for(found) == shrink


def test_photographs_line_patterns_and_aliased_fine_screens_are_not_coarse_screens():
    for path in EVERY:
        assert find_screens(read_image(path).bgr) == {}
    lines = np.tile(128 + 100 * np.cos(2 * np.pi * np.arange(320) / 14), (320, 3, 1)).transpose(2, 0, 1)
    assert find_screens(lines.astype(np.uint8)) == {}
    # Without the low-pass filter 0.44 cycles per pixel would alias to 0.12 at half size.
    y, x = np.mgrid[:256, :256]
    fine = 128 + 60 * (np.cos(2 * np.pi * 0.44 * (x + y)) + np.cos(2 * np.pi * 0.44 * (x - y)))
    found = find_screens(np.repeat(fine.astype(np.uint8)[..., None], 3, axis=2))
    assert common_pitch(found) == pytest.approx(1 / np.hypot(0.44, 0.44), rel=0.01)


@pytest.mark.parametrize(("lines", "dpi"), [(133, 300), (175, 300), (183, 300)])
def test_screens_above_the_nyquist_frequency_are_detected_at_their_true_pitch(photos, lines, dpi):
    # Each ink has another apparent pitch there: 1.71 pixels look like 2.2 at 15° and like 2.4 at 0°.
    config = FLAWED_AM.model_copy(
        update={"pitch_min": dpi / lines, "pitch_max": dpi / lines, "resample": 0.0, "blur": 0.4}
    )
    inks = 0
    for seed, photo in enumerate(photos):
        printing = draw_printing(config, np.random.default_rng(seed))
        printing = replace(printing, angles=(17.0, 77.0, 2.0, 47.0), jpeg=None)
        found = find_screens(print_and_scan(photo, printing))
        assert common_pitch(found) == pytest.approx(dpi / lines, rel=0.01)
        for ink, screen in found.items():
            assert angle_error(screen, printing.angles[INKS.index(ink)]) < 1, (ink, printing)
        inks += len(found)
    assert inks > 3.3 * len(photos)


def test_line_screens_of_two_inks_at_a_right_angle_are_detected_as_lines():
    crossed = {"cyan": 0.0, "magenta": 90.0, "yellow": 60.0, "black": 30.0}
    bgr = np.full((256, 256, 3), (150, 120, 100), np.uint8)
    found = find_screens(am_cmyk(bgr, spot="line", pitch=5.0, angles=crossed, under_colour_removal=0.5, supersample=3))
    assert list(found) == list(INKS)
    for ink, screen in found.items():
        assert screen.is_line and angle_error(screen, crossed[ink]) < 1


@pytest.mark.parametrize("red", [254, 252, 240])
def test_inks_that_share_an_angle_are_reported_as_black(red):
    bgr = np.full((256, 256, 3), (110, 110, red), np.uint8)
    one_angle = dict.fromkeys(INKS, 30.0)
    found = find_screens(am_cmyk(bgr, pitch=5.0, angles=one_angle, under_colour_removal=0, supersample=3))
    assert list(found) == ["black"]
    assert found["black"].pitch == pytest.approx(5, rel=0.01) and angle_error(found["black"], 30.0) < 1


def test_small_images_give_no_screen_and_a_wrong_shape_is_an_error():
    assert find_screens(np.zeros((31, 500, 3), np.uint8)) == {}
    with pytest.raises(ValueError, match="uint8"):
        find_screens(np.zeros((40, 40), np.uint8))


def test_coarse_screens_are_not_mistaken_for_their_overtones():
    random = np.random.default_rng(5)
    for least, most in ((8.6, 12), (12, 17), (17, 24)):
        for path in EVERY:
            pitch, sharpness = random.uniform(least, most), random.uniform(0.3, 0.9)
            scan = am_cmyk(read_image(path).bgr, pitch=pitch, supersample=2)
            scan = cv2.GaussianBlur(scan, (0, 0), sharpness) + random.normal(0, 2, scan.shape)
            found = find_screens(np.clip(scan, 0, 255).astype(np.uint8))
            assert common_pitch(found) == pytest.approx(pitch, rel=0.03), path.name


def test_a_dense_screen_is_not_mistaken_for_its_second_harmonic():
    printing = draw_printing(AM["newsprint 85 lpi, 600 dpi, process inks"], np.random.default_rng(7))
    photo = read_image(next(path for path in PHOTOS if path.stem == "flower")).bgr[:256, :256]
    assert common_pitch(find_screens(print_and_scan(photo, printing))) == pytest.approx(printing.pitch, rel=0.02)
