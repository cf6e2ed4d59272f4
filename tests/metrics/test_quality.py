"""The quality figures have the values that can be worked out by hand."""

import math

import numpy as np
import pytest

from halftone.dbs import gaussian_filter
from metrics import quality as metrics

RANDOM = np.random.default_rng(7)
PHOTO = RANDOM.integers(0, 256, (32, 40, 3), dtype=np.uint8)


def test_unchanged_image_scores_perfectly():
    scores = metrics.restoration_metrics(PHOTO, PHOTO.copy())
    assert scores == {
        "psnr": math.inf,
        "ssim": pytest.approx(1.0, abs=1e-12),
        "luma_psnr": math.inf,
        "chroma_psnr": math.inf,
        "ciede2000": 0.0,
    }


@pytest.mark.parametrize("difference", [1, 16, 255])
def test_psnr_of_a_constant_difference(difference):
    a = np.zeros((9, 5), np.uint8)
    assert metrics.psnr(a, a + np.uint8(difference)) == pytest.approx(20 * math.log10(255 / difference))


def test_psnr_reads_bytes_and_unit_floats_alike():
    other = RANDOM.integers(0, 256, PHOTO.shape, dtype=np.uint8)
    assert metrics.psnr(PHOTO, other) == pytest.approx(metrics.psnr(PHOTO / 255, (other / 255).astype(np.float32)))


def test_psnr_refuses_other_shapes_and_types():
    with pytest.raises(ValueError, match="shape"):
        metrics.psnr(PHOTO, PHOTO[:1])
    with pytest.raises(TypeError, match="int64"):
        metrics.psnr(PHOTO.astype(np.int64), PHOTO.astype(np.int64))


@pytest.mark.parametrize(("bgr", "gray"), [((255, 0, 0), 0.114), ((0, 255, 0), 0.587), ((0, 0, 255), 0.299)])
def test_gray_weights_follow_bgr_order(bgr, gray):
    assert metrics.gray_of(np.full((1, 1, 3), bgr, np.uint8)) == pytest.approx(gray)


def test_chroma_of_primaries_reaches_half_and_of_gray_is_zero():
    blue, red = (metrics.chroma_of(np.full((1, 1, 3), c, np.uint8))[0, 0] for c in ((255, 0, 0), (0, 0, 255)))
    assert blue[0] == pytest.approx(0.5, abs=1e-3) and red[1] == pytest.approx(0.5, abs=1e-3)
    assert metrics.mean_chroma(np.full((4, 4, 3), 77, np.uint8)) == pytest.approx(0, abs=1e-9)
    assert metrics.mean_chroma(np.full((4, 4, 3), (255, 0, 0), np.uint8)) == pytest.approx(
        255 * math.hypot(0.564 * 0.886, 0.713 * 0.114)
    )


def test_luma_and_chroma_are_told_apart():
    brighter = (PHOTO // 2 + 10).astype(np.uint8)
    only_luma = metrics.restoration_metrics(PHOTO // 2, brighter)
    assert only_luma["luma_psnr"] == pytest.approx(20 * math.log10(25.5)) and only_luma["chroma_psnr"] > 200


def test_tone_of_a_constant_error_is_its_psnr():
    black = np.zeros((20, 20), np.uint8)
    for score in (metrics.tone_psnr, metrics.nasanen_psnr):
        assert score(black, np.full((20, 20), 0.1)) == pytest.approx(20.0)


def test_tone_of_a_checkerboard_is_the_kernels_answer_at_nyquist():
    parity = np.indices((24, 24)).sum(0) % 2
    signs = 1 - 2 * (np.indices((11, 11)).sum(0) % 2)
    expected = -20 * math.log10(0.5 * abs((gaussian_filter(1.5, 5) * signs).sum()))
    board = (255 * parity).astype(np.uint8)
    assert metrics.tone_psnr(board, np.full((24, 24), 0.5)) == pytest.approx(expected, abs=1e-6)
    assert metrics.tone_psnr(board, np.full((24, 24), 0.5), sigma=0.8) < expected


def test_tone_looks_at_the_valid_region_only():
    """One wrong pixel in the corner is seen by exactly one window, with the kernel's corner weight."""
    halftone = np.zeros((15, 17), np.uint8)
    halftone[0, 0] = 255
    corner = gaussian_filter(1.5, 5)[0, 0]
    expected = -10 * math.log10(corner**2 / (5 * 7))
    assert metrics.tone_psnr(halftone, np.zeros((15, 17))) == pytest.approx(expected)


def test_tone_refuses_an_image_smaller_than_the_kernel():
    with pytest.raises(ValueError, match="valid region"):
        metrics.tone_psnr(np.zeros((10, 40), np.uint8), np.zeros((10, 40)))


def test_ssim_of_two_constants_is_the_luminance_term():
    a, b = np.full((20, 20), 0.2), np.full((20, 20), 0.6)
    assert metrics.ssim(a, b) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4))


def test_ssim_window_is_the_gaussian_of_eleven_taps():
    """Against the formula written out for a single window: 11×11 images have one valid position."""
    a, b = RANDOM.random((2, 11, 11))
    weights = gaussian_filter(1.5, 5)
    mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
    var_a, var_b = (weights * a**2).sum() - mean_a**2, (weights * b**2).sum() - mean_b**2
    covariance = (weights * a * b).sum() - mean_a * mean_b
    expected = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    expected /= (mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)
    assert metrics.ssim(a, b) == pytest.approx(expected)


def test_ciede2000_of_grays_matches_the_lightness_formula():
    """Between neutral colours only ΔL / S_L is left (Sharma et al. 2005, equations 8 and 19)."""
    dark, light = np.full((4, 4, 3), 60, np.uint8), np.full((4, 4, 3), 200, np.uint8)
    l_dark, l_light = (116 * (((v / 255 + 0.055) / 1.055) ** 2.4) ** (1 / 3) - 16 for v in (60, 200))
    middle = ((l_dark + l_light) / 2 - 50) ** 2
    expected = (l_light - l_dark) / (1 + 0.015 * middle / math.sqrt(20 + middle))
    assert metrics.ciede2000(dark, light) == pytest.approx(expected, rel=2e-3)


def test_ciede2000_knows_the_channel_order():
    """Pure sRGB blue has L* 32.3, pure red 53.2: from black they differ."""
    black = np.zeros((2, 2, 3), np.uint8)
    blue, red = black.copy(), black.copy()
    blue[..., 0], red[..., 2] = 255, 255
    assert metrics.ciede2000(blue, black) < metrics.ciede2000(red, black)


def test_halftone_metrics_measure_against_the_photos_gray():
    photo = np.full((24, 24, 3), (0, 255, 0), np.uint8)
    scores = metrics.halftone_metrics(np.zeros((24, 24), np.uint8), photo)
    expected = -20 * math.log10(0.587)
    assert set(scores) == {"tone_psnr_1.5", "tone_psnr_2.0", "nasanen_psnr", "ssim_gray"}
    assert [scores[k] for k in ("tone_psnr_1.5", "tone_psnr_2.0", "nasanen_psnr")] == pytest.approx([expected] * 3)
