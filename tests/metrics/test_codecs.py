"""JPEG and WebP references stay within the bit budget."""

import cv2
import numpy as np
import pytest

from metrics.codecs import QUALITY, code_within
from metrics.quality import psnr

SOFT = cv2.GaussianBlur(np.random.default_rng(1).integers(0, 256, (96, 128, 3), dtype=np.uint8), (0, 0), 2)


@pytest.mark.parametrize("suffix", QUALITY)
@pytest.mark.parametrize("bits_per_pixel", [0.8, 1.0, 1.5])
def test_the_highest_quality_within_the_budget_is_chosen(suffix, bits_per_pixel):
    budget = int(bits_per_pixel * SOFT[..., 0].size)
    decoded, bits = code_within(SOFT, suffix, budget)
    sizes = [8 * cv2.imencode(suffix, SOFT, [QUALITY[suffix], quality])[1].size for quality in range(1, 101)]
    best = max(quality for quality, size in enumerate(sizes, start=1) if size <= budget)
    again = cv2.imdecode(cv2.imencode(suffix, SOFT, [QUALITY[suffix], best])[1], cv2.IMREAD_COLOR)
    assert bits == sizes[best - 1] <= budget
    assert np.array_equal(decoded, again)


@pytest.mark.parametrize("suffix", QUALITY)
def test_psnr_grows_with_the_budget(suffix):
    scores = [psnr(SOFT, code_within(SOFT, suffix, bits)[0]) for bits in (10_000, 20_000, 40_000)]
    assert scores == sorted(scores) and scores[0] < scores[2]


def test_a_budget_or_size_that_no_file_fits_gives_none():
    assert code_within(SOFT, ".jpg", 100) is None
    assert code_within(np.zeros((16, 16400, 3), np.uint8), ".webp", 10**9) is None
