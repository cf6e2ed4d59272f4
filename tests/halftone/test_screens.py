"""AM screens: pitch, angle and tone of the halftone, in one ink and in four."""

import numpy as np
import pytest

from halftone.inks import INKS
from halftone.screens import SPOTS, STANDARD_ANGLES, am_cmyk, am_screen


def strongest_frequency(field: np.ndarray) -> tuple[float, float]:
    """(cycles per pixel, degrees counter-clockwise in 0..180) of the highest peak of the spectrum."""
    size = field.shape[0]
    window = np.hanning(size)
    power = np.abs(np.fft.fft2((field - field.mean()) * np.outer(window, window)))
    y, x = np.unravel_index(power.argmax(), power.shape)
    fy, fx = np.fft.fftfreq(size)[[y, x]]
    return float(np.hypot(fy, fx)), float(np.degrees(np.arctan2(-fy, fx)) % 180)


@pytest.mark.parametrize("angle", [0.0, 15.0, 45.0, 71.0])
@pytest.mark.parametrize("pitch", [4.3, 6.0, 11.0])
def test_dots_have_the_given_pitch_and_angle(pitch, angle):
    screen = am_screen(np.full((512, 512), 90, np.uint8), pitch=pitch, angle=angle)
    frequency, direction = strongest_frequency(screen)
    assert frequency == pytest.approx(1 / pitch, rel=0.02)
    # A grid of dots is symmetric under a quarter turn.
    assert min((direction - angle) % 90, (angle - direction) % 90) < 1.5


def test_lines_have_one_direction():
    screen = am_screen(np.full((512, 512), 128, np.uint8), spot="line", pitch=8.0, angle=30.0)
    _, direction = strongest_frequency(screen)
    assert min((direction - 120) % 180, (120 - direction) % 180) < 1.5


@pytest.mark.parametrize("spot", SPOTS)
@pytest.mark.parametrize("level", [20, 77, 128, 200])
def test_tone_is_kept_bilevel_and_antialiased(spot, level):
    flat = np.full((240, 240), level, np.uint8)
    sharp = am_screen(flat, spot=spot, pitch=7.3, angle=22.0)
    smooth = am_screen(flat, spot=spot, pitch=7.3, angle=22.0, supersample=4)
    assert set(np.unique(sharp)) <= {0, 255} and len(np.unique(smooth)) > 2
    assert abs(sharp.mean() - level) < 3 and abs(smooth.mean() - level) < 1.5


@pytest.mark.parametrize("pitch", [4.0, 6.0, 8.0])
def test_an_integer_pitch_at_0_degrees_has_about_one_tone_per_pixel_of_a_cell(pitch):
    ramp = [am_screen(np.full((48, 48), level, np.uint8), pitch=pitch, angle=0.0).mean() for level in range(256)]
    assert len(set(ramp)) > 0.9 * pitch**2
    assert max(abs(np.array(ramp) - np.arange(256))) < 1.5 * 255 / pitch**2 + 2


def test_round_spots_are_dots_in_light_tones_and_holes_in_dark_tones():
    for level, minority in ((230, 0), (25, 255)):
        screen = am_screen(np.full((120, 120), level, np.uint8), pitch=12.0, angle=0.0)
        cell = (screen == minority)[:12, :12]
        assert 8 <= cell.sum() <= 20
        assert cell.any(axis=0).sum() <= 6 and cell.any(axis=1).sum() <= 6


def test_supersampling_agrees_with_one_sample_on_the_mean():
    gray = np.random.RandomState(0).randint(0, 256, (64, 64)).astype(np.uint8)
    fine = am_screen(gray, supersample=2)
    assert fine.shape == gray.shape and fine.dtype == np.uint8 and len(np.unique(fine)) == 5
    assert fine.mean() == pytest.approx(am_screen(gray).mean(), abs=3)


def test_each_ink_has_its_own_angle():
    for ink, channel in (("cyan", 2), ("magenta", 1), ("yellow", 0)):
        bgr = np.full((512, 512, 3), 255, np.uint8)
        bgr[..., channel] = 150
        printed = am_cmyk(bgr, pitch=6.0)
        others = [c for c in range(3) if c != channel]
        assert (printed[..., others] == 255).all(), "an ink was printed that the colour does not contain"
        _, direction = strongest_frequency(printed[..., channel])
        angle = STANDARD_ANGLES[ink]
        assert min((direction - angle) % 90, (angle - direction) % 90) < 1.5


def test_gray_is_printed_in_black_alone_with_full_removal_and_in_four_inks_without():
    bgr = np.full((96, 96, 3), 120, np.uint8)
    black = am_cmyk(bgr)
    assert (black == black[..., :1]).all()
    four = am_cmyk(bgr, under_colour_removal=0.0)
    assert not (four == four[..., :1]).all()
    assert np.allclose(four.mean(axis=(0, 1)), 120, atol=8)


def test_the_trade_angles_name_every_ink():
    assert tuple(STANDARD_ANGLES) == INKS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spot": "star"}, "round"),
        ({"pitch": 1.0}, "pitch"),
        ({"pitch": float("nan")}, "pitch"),
        ({"supersample": 0}, "su"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises((KeyError, ValueError), match=message):
        am_screen(np.zeros((4, 4), np.uint8), **options)


@pytest.mark.parametrize("supersample", [1, 3])
def test_an_offset_moves_the_screen_right_and_down(supersample):
    flat = np.full((60, 70), 100, np.uint8)
    still = am_screen(flat, pitch=6.3, angle=20.0, supersample=supersample)
    moved = am_screen(flat, pitch=6.3, angle=20.0, supersample=supersample, offset=(3.0, 5.0))
    assert (moved[5:, 3:] != still[:-5, :-3]).mean() < 0.001  # positions on the screen are rounded
    assert (moved != still).mean() > 0.1
