"""A folder of photographs becomes a training set that PhotoSet reads."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset.photo_set import PhotoSet
from dataset.prepare import main
from dataset.training_pairs import centre_square, make_pair, special_colours
from halftone.variable_diffusion import ostromoukhov
from images.files import read_halftone, read_image, write_image


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(6):
        bgr = cv2.GaussianBlur(random.integers(0, 256, (60 + index, 90, 3), np.uint8), (0, 0), 3)
        write_image(folder / ("sub" if index > 3 else ".") / f"{index}.png", bgr)
    return folder


def run(photos: Path, *options: str) -> int:
    out = photos.parent / "dataset"
    return main(["--photos", str(photos), "--out", str(out), "--size", "32", "--specials", "40", *options])


def lists(photos: Path) -> tuple[dict, dict]:
    out = photos.parent / "dataset"
    return tuple(json.loads((out / name).read_text()) for name in ("HalftoneVOC2012.json", "special_color.json"))


def test_set_has_the_original_names_and_loads(photos, capsys):
    assert run(photos, "--val_share", "0.3") == 0
    assert "4 to train, 2 to validate, 40 special colours" in capsys.readouterr().out
    colour, special = lists(photos)
    assert colour["train"]["inputs"] == [f"HalftoneVOC2012/train/target_c/0000{n}.png" for n in (1, 2, 3, 4)]
    assert colour["val"]["labels"] == [f"HalftoneVOC2012/val/raw_ov/0000{n}.png" for n in (1, 2)]
    assert special["train"]["inputs"][-1] == "special/target_c/00040.png" and special["val"]["inputs"]
    for name in ("HalftoneVOC2012.json", "special_color.json"):
        for split in ("train", "val"):
            loaded = PhotoSet.from_lists(photos.parent / "dataset", name, split)
            loaded.verify()
            assert loaded.size == (32, 32)


def test_references_are_ostromoukhov_of_the_gray_square_in_one_bit(photos):
    assert run(photos, "--val", str(photos / "sub")) == 0
    train = photos.parent / "dataset" / "HalftoneVOC2012" / "train"
    for index in range(4):
        colour = read_image(train / "target_c" / f"0000{index + 1}.png").bgr
        np.testing.assert_array_equal(colour, centre_square(read_image(photos / f"{index}.png").bgr, 32))
        reference = train / "raw_ov" / f"0000{index + 1}.png"
        expected = ostromoukhov(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY))
        np.testing.assert_array_equal(read_halftone(reference), expected)
        assert reference.read_bytes()[24] == 1


def test_validation_folder_is_not_trained_on(photos):
    assert run(photos, "--val", str(photos / "sub")) == 0
    colour, _ = lists(photos)
    assert (len(colour["train"]["inputs"]), len(colour["val"]["inputs"])) == (4, 2)


def test_photographs_for_both_training_and_validation_are_reported(photos, capsys):
    assert run(photos, "--val", str(photos / "sub")) == 0
    assert "overlap: 2 photographs in both are for validation only" in capsys.readouterr().err
    for val in (photos, photos.parent):
        assert run(photos, "--val", str(val)) == 2
        error = capsys.readouterr().err
        assert f"--photos {photos} and --val {val} overlap: all photographs of --photos" in error
        assert error.count("\n") == 1


def test_copies_of_validation_photographs_are_not_trained_on(photos, capsys):
    val = photos.parent / "val"
    val.mkdir()
    (val / "copy.png").write_bytes((photos / "0.png").read_bytes())
    (val / "link.png").symlink_to(photos / "1.png")
    assert run(photos, "--val", str(val)) == 0
    assert "overlap: 2 photographs in both" in capsys.readouterr().err
    colour, _ = lists(photos)
    assert (len(colour["train"]["inputs"]), len(colour["val"]["inputs"])) == (4, 2)
    (val / "copy.png").unlink()
    (val / "link.png").unlink()
    write_image(val / "other.png", np.zeros((40, 40, 3), np.uint8))
    assert run(photos, "--val", str(val)) == 0
    assert "overlap" not in capsys.readouterr().err


def test_square_is_the_centre(tmp_path):
    wide = np.zeros((10, 31, 3), np.uint8)
    wide[:, 10:20] = 255
    assert (centre_square(wide, 5) == 255).all()
    assert (centre_square(wide.transpose(1, 0, 2), 20) == 255).all()


def test_second_run_makes_only_what_is_missing_or_changed(photos):
    assert run(photos) == 0
    out = photos.parent / "dataset"
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    lost = out / "special" / "raw_ov" / "00007.png"
    lost.unlink()
    first = json.loads((out / "HalftoneVOC2012" / "sources.json").read_text())
    changed = {path for path, record in first.items() if "3.png" in record}
    write_image(photos / "3.png", np.full((50, 50, 3), 9, np.uint8))
    assert run(photos) == 0
    again = {str(path.relative_to(out)) for path, then in made.items() if path.stat().st_mtime_ns != then}
    expected = {"special/raw_ov/00007.png", "special/target_c/00007.png"}
    expected |= changed | {path.replace("target_c", "raw_ov") for path in changed}
    assert len(changed) == 1 and again == expected
    assert (read_image(out / changed.pop()).bgr == 9).all()


def test_an_interrupted_run_is_reported_and_the_next_one_completes_it(photos, monkeypatch, capsys):
    made = []

    def interrupted(pair, out, size):
        if len(made) == 5:
            raise KeyboardInterrupt
        made.append(pair)
        return make_pair(pair, out, size)

    monkeypatch.setattr("dataset.training_pairs.make_pair", interrupted)
    assert run(photos, "--workers", "1") == 130
    assert "the same command continues" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(photos) == 0
    assert all(pair.exists(photos.parent / "dataset") for pair in made)
    assert "40 special colours" in capsys.readouterr().out


def test_another_size_makes_every_picture_again(photos):
    assert run(photos) == 0
    assert run(photos, "--size", "16") == 0
    assert all(read_image(path).bgr.shape == (16, 16, 3) for path in (photos.parent / "dataset").rglob("*.png"))


def test_unreadable_files_are_reported_and_left_out(photos, capsys):
    (photos / "empty.jpg").touch()
    (photos / "loop.png").symlink_to(photos / "loop.png")
    (photos / "text.png").write_text("no picture")
    assert run(photos, "--val", str(photos / "sub")) == 3
    errors = capsys.readouterr().err
    assert "empty.jpg: the file is empty" in errors and "loop.png: cannot be read" in errors
    assert "text.png: not an image" in errors and "skipped 3 of 9 photographs" in errors
    colour, _ = lists(photos)
    assert len(colour["train"]["inputs"]) == 4
    PhotoSet.from_lists(photos.parent / "dataset", "HalftoneVOC2012.json", "train").verify()


def test_an_output_folder_inside_the_photographs_is_not_read_as_photographs(photos):
    command = ["--photos", str(photos), "--out", str(photos), "--size", "32", "--specials", "40"]
    assert main(command) == 0
    count = len(list(photos.rglob("*.png")))
    assert main(command) == 0
    assert len(list(photos.rglob("*.png"))) == count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--photos", "missing"], "missing: no such folder"),
        (["--photos", "empty"], "empty: no photographs, or too few to split"),
        (["--photos", "one"], "one: no photographs, or too few to split"),
        (["--photos", "bad"], "none of the 2 photographs for train can be read"),
    ],
)
def test_wrong_use_is_a_one_line_error_with_exit_code_2(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    for name, count in (("empty", 0), ("one", 1), ("bad", 3)):
        (tmp_path / name).mkdir()
        for index in range(count):
            (tmp_path / name / f"{index}.png").touch()
    assert main([*options, "--out", "out", "--specials", "2"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {message}"


@pytest.mark.parametrize("options", [["--val_share", "1"], ["--size", "0"], ["--specials", "none"], ["--workers", "0"]])
def test_options_out_of_range_are_errors(photos, options):
    with pytest.raises(SystemExit) as caught:
        run(photos, *options)
    assert caught.value.code == 2


def test_special_colours_cover_the_gray_axis_and_the_cube():
    colours = special_colours(1587, seed=131)
    assert len(colours) == 1587
    assert [(level,) * 3 for level in range(256)] == colours[:256]
    assert len(set(colours[256:])) == 1331
    assert {(0, 0, 255), (255, 0, 0), (255, 255, 0), (255, 255, 255)} <= set(colours[256:])


@pytest.mark.parametrize("count", [1, 2, 5, 28, 40, 1586, 2000])
def test_any_number_of_special_colours_is_reproducible(count):
    colours = special_colours(count, seed=7)
    assert len(colours) == count and colours == special_colours(count, seed=7)
    assert all(0 <= level <= 255 for colour in colours for level in colour)
