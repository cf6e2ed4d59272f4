"""The baseline filters remove the screen and preserve the image."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from descreen.baselines import BASELINES, MASKS, fft_notch
from descreen.config import ScreensConfig
from descreen.engine import baseline_restorer
from descreen.printing import draw_printing, print_and_scan
from descreen.regions import find_regions
from metrics.quality import psnr


@pytest.fixture(scope="module")
def photo():
    cells = np.random.default_rng(2).integers(30, 226, (6, 7, 3)).astype(np.uint8)
    return cv2.resize(cells, (200, 168), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module", params=[3.0, 5.5])
def scan(request, photo):
    printing = draw_printing(ScreensConfig(fm=0.0, gray=0.0, clean=0.0), np.random.default_rng(0))
    return print_and_scan(photo, replace(printing, pitch=request.param, jpeg=None))


def ripple(picture):
    picture = picture.astype(np.float32)
    return (picture - cv2.GaussianBlur(picture, (0, 0), 5)).std()


@pytest.mark.parametrize("method", BASELINES)
def test_every_baseline_raises_the_psnr_and_attenuates_the_screen(photo, scan, method):
    restored = baseline_restorer(method, 1.0, "gaussian")(scan, find_regions(scan))
    assert restored.shape == scan.shape and restored.dtype == np.uint8
    assert psnr(restored, photo) > psnr(scan, photo) + 3
    assert ripple(restored) < 0.4 * ripple(scan)


@pytest.mark.parametrize("mask", MASKS)
def test_every_notch_mask_preserves_image_content(photo, scan, mask):
    pitch = 1 / 0.25
    assert psnr(fft_notch(photo, pitch, mask=mask), photo) > 32
    assert psnr(fft_notch(scan, pitch, mask=mask), photo) > psnr(scan, photo) + 2


@pytest.mark.parametrize("method", BASELINES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 2)])
def test_baselines_accept_any_size(method, size):
    picture = np.full((*size, 3), 90, np.uint8)
    assert np.abs(BASELINES[method](picture).astype(int) - 90).max() <= 1


def test_an_unknown_mask_is_an_error(photo):
    with pytest.raises(ValueError, match="unknown mask 'star', known: gaussian, disc, cross"):
        fft_notch(photo, mask="star")


def test_out_of_memory_in_opencv_raises_memory_error(scan, monkeypatch):
    def out_of_memory(*arguments):
        failure = cv2.error("no memory")
        failure.code, failure.err = -4, "Failed to allocate"
        raise failure

    monkeypatch.setitem(BASELINES, "gaussian", out_of_memory)
    with pytest.raises(MemoryError, match="Failed to allocate"):
        baseline_restorer("gaussian", 1.0, "disc")(scan, find_regions(scan))
