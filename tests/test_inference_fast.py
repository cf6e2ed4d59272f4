"""The command that halftones and restores folders, on real files."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.reshalf import InverseHalf
from utils.checkpoint import write_checkpoint

ROOT = Path(__file__).parents[1]


def photo(height=40, width=56):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([128 + 90 * np.sin(x / 9 + y / phase) for phase in (5, 11, 23)], -1).round().astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a photo.v2.JPG"), photo())
    cv2.imwrite(str(folder / "ü.png"), photo(13, 1))
    return folder


def test_every_photo_becomes_a_one_bit_halftone_and_is_restored(run, checkpoint, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(checkpoint, photos, out) == 0
    assert sorted(path.name for path in (out / "halftone").iterdir()) == ["a photo.v2.png", "ü.png"]
    for name, size in (("a photo.v2", (56, 40)), ("ü", (1, 13))):
        halftone = Image.open(out / "halftone" / f"{name}.png")
        assert halftone.mode == "1" and halftone.size == size
        restored = Image.open(out / "restored" / f"{name}.png")
        assert restored.mode == "RGB" and restored.size == size
    assert cv2.imread(str(out / "overview.png")).shape[1] == 3 * 56 + 2 * 8
    assert "a photo.v2.png" in capsys.readouterr().out


def test_restoring_the_written_halftones_gives_the_same_pictures(run, checkpoint, photos, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(checkpoint, photos, first) == 0
    assert run(checkpoint, first / "halftone", second, "--decoding") == 0
    for path in (first / "restored").iterdir():
        assert path.read_bytes() == (second / "restored" / path.name).read_bytes()


def test_the_same_input_gives_the_same_halftone(run, checkpoint, photos, tmp_path):
    assert run(checkpoint, photos, tmp_path / "1") == run(checkpoint, photos, tmp_path / "2") == 0
    for path in (tmp_path / "1/halftone").iterdir():
        assert path.read_bytes() == (tmp_path / "2/halftone" / path.name).read_bytes()


def test_a_bad_file_is_skipped(run, checkpoint, photos, tmp_path, capsys):
    (photos / "text.jpg").write_text("no picture")
    (photos / "empty.png").write_bytes(b"")
    (photos / "folder.png").mkdir()
    out = tmp_path / "out"
    assert run(checkpoint, photos, out) == 3
    errors = capsys.readouterr().err
    for name in ("text.jpg", "empty.png", "folder.png"):
        assert f"skipped: {photos / name}: " in errors
    assert "3 of 5 skipped" in errors
    assert len(list((out / "restored").iterdir())) == 2
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_alpha_is_kept_in_the_restored_picture(run, checkpoint, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    alpha = np.tile(np.arange(56, dtype=np.uint8) * 4, (40, 1))
    cv2.imwrite(str(folder / "x.png"), np.dstack([photo(), alpha]))
    assert run(checkpoint, folder, tmp_path / "out") == 0
    assert np.array_equal(cv2.imread(str(tmp_path / "out/restored/x.png"), cv2.IMREAD_UNCHANGED)[..., 3], alpha)


def test_subfolders_keep_their_structure_and_outputs_are_not_inputs(run, checkpoint, photos, tmp_path):
    (photos / "more/deep").mkdir(parents=True)
    cv2.imwrite(str(photos / "more/deep/b.png"), photo(8, 8))
    out = photos / "out"
    assert run(checkpoint, photos, out, "--recursive") == 0
    assert run(checkpoint, photos, out, "--recursive") == 0
    written = sorted(str(path.relative_to(out / "restored")) for path in (out / "restored").rglob("*.png"))
    assert written == ["a photo.v2.png", "more/deep/b.png", "ü.png"]


def test_a_photo_is_not_accepted_as_a_halftone_unless_forced(run, checkpoint, photos, tmp_path, capsys):
    assert run(checkpoint, photos, tmp_path / "out", "--decoding") == 3
    assert "a photo.v2.JPG" in capsys.readouterr().err
    assert run(checkpoint, photos, tmp_path / "forced", "--decoding", "--force") == 0


def test_wrong_usage_is_one_line_and_exit_code_2(run, checkpoint, photos, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "text.pth.tar"
    text.write_text("no checkpoint")
    extractor = tmp_path / "extractor.pth.tar"
    write_checkpoint(extractor, {"state_dict": InverseHalf(4).state_dict()})
    for model, folder, words in [
        (checkpoint, tmp_path / "nowhere", "no such folder"),
        (checkpoint, empty, "no images"),
        (tmp_path / "missing.pth.tar", photos, "missing.pth.tar"),
        (text, photos, "text.pth.tar"),
        (extractor, photos, "InverseHalf"),
    ]:
        assert run(model, folder, tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert words in error and error.startswith("error: ") and error.count("\n") == 1
    assert run(checkpoint, photos, tmp_path / "out", "--tile", "100") == 2
    assert "multiple of 8" in capsys.readouterr().err


def test_defaults_run_the_shipped_checkpoint_on_the_shipped_photographs(tmp_path):
    """The first run of a new user, from another folder: every test photograph, at about the quality README states."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "inference_fast.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    names = {path.stem for path in (ROOT / "test_imgs").iterdir() if path.suffix != ".md"}
    assert names == {path.stem for path in (tmp_path / "result/restored").iterdir()}
    scores = [line.split()[-3:] for line in done.stdout.splitlines() if ".png" in line and "×" in line]
    assert len(scores) == len(names) >= 6
    psnr, ssim, tone = np.array(scores, float).mean(axis=0)
    assert psnr > 25 and ssim > 0.7 and tone > 34
