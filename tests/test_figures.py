"""README's images."""

from pathlib import Path

import cv2
import numpy as np

from figures import make
from images.files import read_halftone, read_image
from reshalf import ResHalfCodec

ROOT = Path(__file__).parents[1]


def test_the_images_show_the_output_of_the_checkpoint(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "CROPS", {"astronaut.jpg": make.CROPS["astronaut.jpg"]})
    monkeypatch.setattr(make, "SHEET_SIDE", 64)
    assert make.main(["--model", str(checkpoint), "--out", str(tmp_path)]) == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert written <= {path.name for path in (ROOT / "figures").iterdir()} and len(written) == 7
    halftone = ResHalfCodec(checkpoint).halftone(read_image(ROOT / "test_imgs/astronaut.jpg").bgr)
    (top, left), (down, right) = make.CROPS["astronaut.jpg"]
    expected = halftone[top + down :, left + right :][:96, :96]
    np.testing.assert_array_equal(read_halftone(tmp_path / "astronaut_halftone.png")[1::3, 1::3], expected)
    shown = read_image(tmp_path / "astronaut_photograph.jpg").bgr
    assert cv2.PSNR(shown, read_image(ROOT / "test_imgs/astronaut.jpg").bgr[top:, left:][:288, :288]) > 30


def test_a_missing_checkpoint_is_reported_in_one_line(tmp_path, capsys):
    assert make.main(["--model", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
