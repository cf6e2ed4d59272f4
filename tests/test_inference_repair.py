"""inference_fast.py --decoding of halftones that were changed on their way."""

import cv2
import numpy as np
import pytest

from halftone.error_diffusion import error_diffusion
from images.files import read_halftone, write_halftone


@pytest.fixture
def true(run, with_pilot, make_photos, tmp_path):
    """A halftone of 96 × 88 pixels, and the output folder with its restoration, restored/true.png."""
    assert run(with_pilot, make_photos({"true": (88, 96)}), tmp_path / "first") == 0
    return read_halftone(tmp_path / "first/halftone/true.png")


def test_changed_halftones_are_restored_as_the_true_one_with_a_line_each(run, with_pilot, true, tmp_path, capsys):
    changed = tmp_path / "changed"
    changed.mkdir()
    write_halftone(changed / "inverted.png", 255 - true)
    write_halftone(changed / "large.png", true.repeat(3, 0).repeat(2, 1))
    cv2.imwrite(str(changed / "bits.png"), true // 255)
    cv2.imwrite(str(changed / "shot.png"), cv2.copyMakeBorder(true, 3, 4, 5, 6, cv2.BORDER_CONSTANT, value=128))
    write_halftone(changed / "true.png", true)
    write_halftone(changed / "other.png", error_diffusion(np.tile(np.linspace(60, 200, 160), (160, 1))))
    out = tmp_path / "out"
    capsys.readouterr()
    assert run(with_pilot, changed, out, "--decoding") == 0
    expected = cv2.imread(str(tmp_path / "first/restored/true.png"))
    for name in ("inverted", "large", "bits", "shot", "true"):
        np.testing.assert_array_equal(cv2.imread(str(out / f"restored/{name}.png")), expected, err_msg=name)
    lines = [line.strip() for line in capsys.readouterr().err.splitlines() if str(changed) in line]
    assert lines == [
        f"warning: {changed / 'bits.png'}: found and undone: levels 0 and 1 instead of 0 and 255",
        f"warning: {changed / 'inverted.png'}: found and undone: black and white swapped",
        f"warning: {changed / 'large.png'}: found and undone: every pixel repeated 2 × 3 times: now 96 × 88",
        f"warning: {changed / 'other.png'}: carries no pilot: made by another program, or changed; "
        "colours may be wrong",
        f"warning: {changed / 'shot.png'}: found and undone: a border",
    ]


def test_inversion_is_forced_where_there_is_no_pilot(run, checkpoint, make_photos, tmp_path, capsys):
    first, changed = tmp_path / "first", tmp_path / "changed"
    assert run(checkpoint, make_photos({"a": (40, 48)}), first) == 0
    changed.mkdir()
    write_halftone(changed / "a.png", 255 - read_halftone(first / "halftone/a.png"))
    assert run(checkpoint, changed, tmp_path / "out", "--decoding", "--invert") == 0
    assert (tmp_path / "out/restored/a.png").read_bytes() == (first / "restored/a.png").read_bytes()
    assert run(checkpoint, changed, tmp_path / "out", "--decoding", "--skip_existing") == 0
    assert (tmp_path / "out/restored/a.png").read_bytes() != (first / "restored/a.png").read_bytes()
    assert run(checkpoint, changed, tmp_path / "out", "--invert") == 2
    assert "--invert is for --decoding" in capsys.readouterr().err
