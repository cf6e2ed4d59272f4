"""Hostile files, folders and flags: reported in one line each, before or without harm to the rest."""

import errno
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import inference_fast


@pytest.fixture
def photos(make_photos):
    return make_photos(dict.fromkeys("abcd", (48, 64)))


def results(out):
    """The bytes of every output file, by name; all must be complete images."""
    files = {path.relative_to(out): path for path in out.glob("*/*.png") if not path.name.startswith(".")}
    for path in files.values():
        Image.open(path).load()
    return {name: path.read_bytes() for name, path in files.items()}


def test_hostile_files_are_skipped_and_extreme_shapes_are_processed(
    run, checkpoint, photos, tmp_path, capsys, monkeypatch
):
    cv2.imwrite(str(photos / "one.png"), np.full((1, 1, 3), 200, np.uint8))
    cv2.imwrite(str(photos / "long.png"), np.full((1, 5000, 3), 90, np.uint8))
    cv2.imwrite(str(photos / "tall.png"), np.full((5000, 1, 3), 90, np.uint8))
    cv2.imwrite(str(photos / "bomb.png"), np.zeros((110, 101, 3), np.uint8))
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 255)]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    (photos / "cut.png").write_bytes((photos / "a.png").read_bytes()[:-2000])
    (photos / "text.jpg").write_text("no picture")
    (photos / "empty.webp").touch()
    (photos / "circle.png").symlink_to("circle.png")
    (photos / "dangling.png").symlink_to("nowhere.png")
    (photos / "back.png").symlink_to(photos, target_is_directory=True)
    os.mkfifo(photos / "pipe.png")
    locked = photos / "locked.png"
    locked.write_bytes((photos / "a.png").read_bytes())
    deny(locked, monkeypatch)
    bad = {
        "bomb.png": "limit 0",
        "moving.gif": "animation",
        "cut.png": "truncated or damaged",
        "text.jpg": "not an image",
        "empty.webp": "empty",
        "circle.png": "symbolic links",
        "dangling.png": "No such file",
        "back.png": "link back",
        "pipe.png": "not a regular file",
        "locked.png": "Permission denied",
    }
    out = tmp_path / "out"
    assert run(checkpoint, photos, out, "--recursive", "--max_pixels", "11000") == 3
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if f"skipped: {photos}" in line]
    for name, reason in bad.items():
        about = [line for line in lines if f"{photos / name}: " in line]
        assert len(about) == 1 and reason in about[0]
    assert len(lines) == len(bad)
    assert f"{len(bad)} of {len(bad) + 7} skipped" in said.err
    assert {path.stem for path in (out / "restored").iterdir()} == {*"abcd", "one", "long", "tall"}
    assert Image.open(out / "restored/long.png").size == (5000, 1)


def deny(locked, monkeypatch):
    """Make a file unreadable; for root, who may read everything, replace open()."""
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        opened = open

        def refusing(path, *args, **kwargs):
            if Path(str(path)) == locked:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return opened(path, *args, **kwargs)

        monkeypatch.setattr("builtins.open", refusing)


def test_originals_are_never_overwritten(run, checkpoint, photos, tmp_path, capsys):
    before = {path: path.read_bytes() for path in photos.iterdir()}
    assert run(checkpoint, photos, photos) == 2
    assert "output folder must differ" in capsys.readouterr().err
    restored = tmp_path / "restored"
    photos.rename(restored)
    assert run(checkpoint, restored, tmp_path) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in restored.iterdir()} == {p.name: b for p, b in before.items()}


def test_halftones_may_be_restored_into_the_folder_they_lie_in(run, checkpoint, photos, tmp_path):
    out = tmp_path / "out"
    assert run(checkpoint, photos, out) == 0
    first = results(out)
    (out / "restored/a.png").unlink()
    assert run(checkpoint, out / "halftone", out, "--decoding") == 0
    assert results(out) == first


def test_photographs_of_unsupported_formats_are_reported(run, checkpoint, photos, tmp_path, capsys):
    for name in ("a.heic", "e.HEIC", "f.cr2", "notes.txt"):
        (photos / name).write_bytes(b"\0\0\0\x18ftypheic")
    assert run(checkpoint, photos, tmp_path / "out") == 3
    error = capsys.readouterr().err
    assert f"{photos / 'a.heic'}: HEIC files are not read" in error and "3 of 7 skipped: a.heic, e.HEIC, f.cr2" in error
    assert len(results(tmp_path / "out")) == 8


def test_a_link_to_a_parent_folder_is_skipped(run, checkpoint, photos, tmp_path, capsys):
    (photos / "a").symlink_to(photos, target_is_directory=True)
    assert run(checkpoint, photos, tmp_path / "out", "--recursive") == 3
    assert "a: a link back to a folder above it" in capsys.readouterr().err
    assert len(results(tmp_path / "out")) == 8


def test_a_link_to_the_results_is_not_an_input(run, checkpoint, photos, tmp_path):
    (photos / "made").symlink_to(tmp_path / "out", target_is_directory=True)
    for _ in range(2):
        assert run(checkpoint, photos, tmp_path / "out", "--recursive") == 0
    assert len(results(tmp_path / "out")) == 8


@pytest.mark.parametrize("out", ["file", "file/deeper", "kept"])
def test_an_output_folder_that_is_a_file_is_refused_before_the_work(
    run, out, checkpoint, photos, tmp_path, monkeypatch, capsys
):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/halftone").write_text("in the way")
    monkeypatch.setattr("reshalf.codec.ResHalfCodec.halftone", lambda *_: pytest.fail("worked"))
    assert run(checkpoint, photos, tmp_path / out) == 2
    assert "not a folder" in capsys.readouterr().err


def test_a_file_name_with_a_line_break_is_reported_in_one_line(run, checkpoint, photos, tmp_path, capsys):
    (photos / "two\nlines.png").write_text("no picture")
    assert run(checkpoint, photos, tmp_path / "out") == 3
    assert "two\\nlines.png: not an image" in (error := capsys.readouterr().err) and "two\n" not in error


def test_flags_without_effect_are_refused(run, checkpoint, photos, tmp_path, capsys):
    for flags, words in (
        (["--decoding", "--fast"], "not with --decoding"),
        (["--decoding", "--rounds", "2"], "not with --decoding"),
        (["--force"], "--force is for --decoding"),
    ):
        assert run(checkpoint, photos, tmp_path / "out", *flags) == 2
        assert words in capsys.readouterr().err
    assert inference_fast.main(["--decoding"]) == 2
    assert "--decoding needs --data_dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environment", "flags", "words"),
    [
        ({}, ["--device", "meta"], "meta"),
        ({}, ["--seed", "9" * 20], "64 bits"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, [], "RANK x"),
        ({"RANK": "7", "WORLD_SIZE": "2"}, [], "RANK 7"),
    ],
)
def test_invalid_settings_are_reported_in_one_line(
    run, environment, flags, words, checkpoint, photos, tmp_path, monkeypatch, capsys
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run(checkpoint, photos, tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert words in error and error.startswith("error: ") and error.count("\n") == 1
