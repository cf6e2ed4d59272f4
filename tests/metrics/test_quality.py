"""Quality metrics: values derived by hand, agreement with scikit-image, refused input."""

import math

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from halftone.dbs import gaussian_filter
from halftone.eye import nasanen
from metrics import quality as metrics

RANDOM = np.random.default_rng(7)
PHOTO = RANDOM.integers(0, 256, (32, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(11, 11), (60, 47), (530, 90)])
@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_in_bands_equal_those_of_scikit_image(shape, channels):
    random = np.random.default_rng(0)
    photo = cv2.GaussianBlur(random.integers(0, 256, (*shape, 3), np.uint8), (0, 0), 2)
    other = np.clip(photo + random.normal(0, 9, photo.shape), 0, 255).astype(np.uint8)
    photo, other = (image[..., 0] if channels == 1 else image for image in (photo, other))
    assert metrics.psnr(photo, other) == pytest.approx(peak_signal_noise_ratio(photo, other), abs=1e-9)
    expected = structural_similarity(
        photo / 255,
        other / 255,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        channel_axis=2 if channels == 3 else None,
    )
    assert metrics.ssim(photo, other) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(11, 11), (60, 47), (530, 90)])
def test_tone_in_bands_equals_that_of_the_whole_image_filtered_at_once(shape):
    random = np.random.default_rng(0)
    photo = cv2.GaussianBlur(random.integers(0, 256, (*shape, 3), np.uint8), (0, 0), 2)
    gray = metrics.gray_of(photo)
    halftone = np.where(random.random(shape) < gray, np.uint8(255), np.uint8(0))
    for spread in (gaussian_filter(1.5, 5), nasanen(radius=5)):
        error = cv2.filter2D(halftone / 255 - gray, cv2.CV_64F, spread)[5:-5, 5:-5]
        expected = -10 * math.log10(np.mean(error**2))
        assert metrics.perceived_psnr(halftone, gray, spread) == pytest.approx(expected, abs=1e-9)
        assert metrics.perceived_psnr(halftone, photo, spread) == pytest.approx(expected, abs=1e-9)
    in_one = metrics.perceived_psnr(halftone, gray, gaussian_filter(1.5, 5))
    assert metrics.tone_psnr(halftone, photo) == pytest.approx(in_one, abs=1e-9)


def test_unchanged_image_has_infinite_psnr_and_ssim_one():
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


def test_psnr_of_uint8_and_of_unit_floats_is_the_same():
    other = RANDOM.integers(0, 256, PHOTO.shape, dtype=np.uint8)
    assert metrics.psnr(PHOTO, other) == pytest.approx(metrics.psnr(PHOTO / 255, (other / 255).astype(np.float32)))


def test_different_shapes_and_integer_types_are_refused():
    for metric in (metrics.psnr, metrics.ssim):
        with pytest.raises(ValueError, match="shape"):
            metric(PHOTO, PHOTO[:1])
    with pytest.raises(ValueError, match="shape"):
        metrics.tone_psnr(PHOTO[..., 0], PHOTO[:1])
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


def test_a_change_of_brightness_lowers_luma_psnr_only():
    brighter = (PHOTO // 2 + 10).astype(np.uint8)
    only_luma = metrics.restoration_metrics(PHOTO // 2, brighter)
    assert only_luma["luma_psnr"] == pytest.approx(20 * math.log10(25.5)) and only_luma["chroma_psnr"] > 200


def test_tone_of_a_constant_error_is_its_psnr():
    black, gray = np.zeros((20, 20), np.uint8), np.full((20, 20), 0.1)
    assert metrics.tone_psnr(black, gray) == pytest.approx(20.0)
    assert metrics.perceived_psnr(black, gray, nasanen(radius=5)) == pytest.approx(20.0)


def test_tone_of_a_checkerboard_is_the_filters_response_at_nyquist():
    parity = np.indices((24, 24)).sum(0) % 2
    signs = 1 - 2 * (np.indices((11, 11)).sum(0) % 2)
    expected = -20 * math.log10(0.5 * abs((gaussian_filter(1.5, 5) * signs).sum()))
    board = (255 * parity).astype(np.uint8)
    assert metrics.tone_psnr(board, np.full((24, 24), 0.5)) == pytest.approx(expected, abs=1e-6)
    assert metrics.tone_psnr(board, np.full((24, 24), 0.5), sigma=0.8) < expected


def test_tone_is_measured_over_the_valid_region_only():
    """One wrong pixel in the corner is inside exactly one window, at the filter's corner tap."""
    halftone = np.zeros((15, 17), np.uint8)
    halftone[0, 0] = 255
    corner = gaussian_filter(1.5, 5)[0, 0]
    expected = -10 * math.log10(corner**2 / (5 * 7))
    assert metrics.tone_psnr(halftone, np.zeros((15, 17))) == pytest.approx(expected)


def test_an_image_smaller_than_the_filter_is_refused():
    with pytest.raises(ValueError, match="valid region"):
        metrics.tone_psnr(np.zeros((10, 40), np.uint8), np.zeros((10, 40)))
    with pytest.raises(ValueError, match="valid region"):
        metrics.ssim(np.zeros((40, 10)), np.zeros((40, 10)))


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
    """Between neutral colours only the term ΔL / S_L is not 0 (Sharma et al. 2005, equations 8 and 19)."""
    dark, light = np.full((4, 4, 3), 60, np.uint8), np.full((4, 4, 3), 200, np.uint8)
    l_dark, l_light = (116 * (((v / 255 + 0.055) / 1.055) ** 2.4) ** (1 / 3) - 16 for v in (60, 200))
    middle = ((l_dark + l_light) / 2 - 50) ** 2
    expected = (l_light - l_dark) / (1 + 0.015 * middle / math.sqrt(20 + middle))
    assert metrics.ciede2000(dark, light) == pytest.approx(expected, rel=2e-3)


def test_ciede2000_takes_bgr_order():
    """Pure sRGB blue has L* 32.3, pure red 53.2: their differences from black are unequal."""
    black = np.zeros((2, 2, 3), np.uint8)
    blue, red = black.copy(), black.copy()
    blue[..., 0], red[..., 2] = 255, 255
    assert metrics.ciede2000(blue, black) < metrics.ciede2000(red, black)
