"""The table's quick scores are the scores of utils/metrics.py."""

import cv2
import numpy as np
import pytest

from metrics import banded as scores
from metrics import quality as metrics


@pytest.mark.parametrize("shape", [(11, 11), (60, 47), (530, 90)])
def test_scores_are_those_of_the_metrics(shape):
    random = np.random.default_rng(0)
    photo = cv2.GaussianBlur(random.integers(0, 256, (*shape, 3), np.uint8), (0, 0), 2)
    other = np.clip(photo + random.normal(0, 9, photo.shape), 0, 255).astype(np.uint8)
    halftone = np.where(random.random(shape) * 255 < metrics.gray_of(photo) * 255, np.uint8(255), np.uint8(0))
    assert scores.psnr(photo, other) == pytest.approx(metrics.psnr(photo, other), abs=1e-6)
    assert scores.ssim(photo, other) == pytest.approx(metrics.ssim(photo, other), abs=1e-4)
    expected = metrics.tone_psnr(halftone, metrics.gray_of(photo))
    assert scores.tone_psnr(halftone, photo) == pytest.approx(expected, abs=1e-3)


def test_equal_images_have_no_error():
    photo = np.full((12, 12, 3), 77, np.uint8)
    assert scores.psnr(photo, photo) == np.inf
    assert scores.ssim(photo, photo) == pytest.approx(1)
