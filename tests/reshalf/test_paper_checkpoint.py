"""The shipped checkpoint of the paper's network, on a photograph that it has not seen."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from images.files import read_image
from metrics.quality import psnr, tone_psnr
from reshalf import PAPER, ResHalfCodec

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def codec():
    return ResHalfCodec(PAPER, "cpu", precision="float32")


@pytest.fixture(scope="module")
def photograph():
    return read_image(ROOT / "test_imgs/flower.jpg").bgr[60:252, 200:456]


@pytest.fixture(scope="module")
def halftone(codec, photograph):
    return codec.halftone(photograph)


def test_it_is_the_papers_architecture(codec):
    arch = codec.network.arch()
    assert arch["prior"] is None and arch["levels"] == 3 and arch["decoder"] == "hourglass"
    assert PAPER.stat().st_size < 12e6


def test_its_halftone_has_the_tone_of_the_photograph(halftone, photograph):
    assert set(np.unique(halftone)) == {0, 255}
    assert tone_psnr(halftone, photograph) > 26


def test_its_halftone_carries_the_colours(codec, halftone, photograph):
    restored = codec.restore(halftone)
    gray = cv2.cvtColor(cv2.cvtColor(photograph, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    assert psnr(chroma(photograph), chroma(restored)) > psnr(chroma(photograph), chroma(gray)) + 3


def test_its_halftone_is_the_same_in_tiles(codec, halftone, photograph):
    tiled = ResHalfCodec(PAPER, "cpu", precision="float32", tile=64)
    assert (tiled.halftone(photograph) == halftone).mean() > 0.999


def chroma(bgr):
    """Cr and Cb, (H, W, 2) uint8."""
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2YCrCb)[..., 1:]
