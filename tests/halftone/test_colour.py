"""Colour halftoning: inks, channels, palettes, linear light."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone import METHODS
from halftone.error_diffusion import error_diffusion
from halftone.inks import INKS, combine, per_channel, per_ink, separate
from halftone.light import linear_light
from halftone.palette import diffuse_to_palette

BGR = np.random.RandomState(0).randint(0, 256, (32, 40, 3)).astype(np.uint8)
PRIMARIES = np.array([[b, g, r] for b in (0, 255) for g in (0, 255) for r in (0, 255)], np.uint8)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(removal=st.floats(0, 1))
def test_combining_the_separated_inks_gives_the_photograph(removal):
    assert np.abs(combine(separate(BGR, removal)).astype(int) - BGR).max() <= 2


def test_full_under_colour_removal_leaves_at_most_two_inks_and_black():
    inks = separate(BGR)
    assert (inks[..., :3].min(axis=2) == 0).all()
    assert np.array_equal(inks[..., 3], 255 - BGR.max(axis=2))
    assert not separate(BGR, 0.0)[..., 3].any()


@pytest.mark.parametrize(
    ("colour", "ink"),
    [((255, 255, 0), "cyan"), ((255, 0, 255), "magenta"), ((0, 255, 255), "yellow"), ((0, 0, 0), "black")],
)
def test_the_colour_of_an_ink_is_separated_into_this_ink_only(colour, ink):
    inks = separate(np.full((1, 1, 3), colour, np.uint8))[0, 0]
    assert list(inks) == [255 if name == ink else 0 for name in INKS]


def test_channels_are_halftoned_independently():
    out = per_channel(BGR, error_diffusion)
    for channel in range(3):
        assert np.array_equal(out[..., channel], error_diffusion(np.ascontiguousarray(BGR[..., channel])))


def test_searches_of_three_channels_may_run_in_parallel():
    out = per_channel(BGR, METHODS["dbs_nasanen"])
    assert np.array_equal(out[..., 1], METHODS["dbs_nasanen"](np.ascontiguousarray(BGR[..., 1])))


def test_inks_are_halftoned_independently_and_overprinted():
    plates = {}

    def halftone(plate, ink):
        plates[ink] = plate
        return error_diffusion(plate)

    out = per_ink(BGR, halftone)
    inks = separate(BGR)
    assert all(np.array_equal(plates[ink], 255 - inks[..., i]) for i, ink in enumerate(INKS))
    assert set(np.unique(out)) <= {0, 255}
    assert np.allclose(out.mean(axis=(0, 1)), BGR.mean(axis=(0, 1)), atol=12)


def test_a_black_and_white_palette_is_floyd_steinberg():
    gray = np.random.RandomState(1).randint(0, 256, (24, 31)).astype(np.uint8)
    out = diffuse_to_palette(np.dstack([gray] * 3), [[0, 0, 0], [255, 255, 255]])
    assert (out == out[..., :1]).all()
    assert (out[..., 0] == error_diffusion(gray)).mean() > 0.99  # the same sums in another order


def test_a_palette_keeps_the_mean_colour():
    bgr = np.full((128, 128, 3), (60, 120, 200), np.uint8)
    out = diffuse_to_palette(bgr, PRIMARIES)
    assert {tuple(colour) for colour in out.reshape(-1, 3)} <= {tuple(colour) for colour in PRIMARIES}
    assert np.allclose(out.mean(axis=(0, 1)), (60, 120, 200), atol=2)


def test_a_palette_colour_is_unchanged():
    bgr = np.full((9, 9, 3), (10, 200, 30), np.uint8)
    assert (diffuse_to_palette(bgr, [[0, 0, 0], [10, 200, 30], [255, 255, 255]]) == bgr).all()


def test_errors_outside_the_gamut_of_the_palette_are_bounded():
    # Red next to gray with no red in the palette: without a limit the error would spread over the whole gray area.
    bgr = np.full((64, 128, 3), 128, np.uint8)
    bgr[:, :64] = (0, 0, 255)
    out = diffuse_to_palette(bgr, [[0, 0, 0], [255, 255, 255]])
    assert abs(out[:, 80:].mean() - 128) < 8


@pytest.mark.parametrize("palette", [np.zeros((0, 3)), np.zeros((2, 4)), [[0, 0, 256]], [[-1, 0, 0]]])
def test_an_invalid_palette_is_refused(palette):
    with pytest.raises(ValueError, match="palette"):
        diffuse_to_palette(BGR, palette)


@pytest.mark.parametrize("bad", [BGR[..., 0], BGR.astype(np.int32), BGR.astype(float) - 1, BGR[:0]])
def test_an_invalid_colour_image_is_refused(bad):
    with pytest.raises(ValueError):
        diffuse_to_palette(bad, PRIMARIES)


@pytest.mark.parametrize("refused", [lambda: separate(BGR, 1.5), lambda: separate(BGR[..., 0]), lambda: combine(BGR)])
def test_invalid_input_of_separation_and_combination_is_refused(refused):
    with pytest.raises(ValueError):
        refused()


def test_linear_light_follows_the_srgb_curve():
    gray = np.array([[0, 10, 128, 255]], np.uint8)
    assert np.allclose(linear_light(gray), 255 * np.array([[0, 0.003035, 0.215861, 1]]), atol=1e-3)
    assert (np.diff(linear_light(np.arange(256, dtype=np.uint8)[None])) > 0).all()
