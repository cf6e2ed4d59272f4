"""The command python -m halftone."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from halftone import METHODS
from halftone.__main__ import main
from halftone.light import linear_light
from halftone.ordered import bayer
from halftone.screens import am_cmyk
from images.files import read_halftone

BGR = np.random.RandomState(0).randint(0, 256, (30, 44, 3)).astype(np.uint8)
GRAY = cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.one.png"
    cv2.imwrite(str(path), BGR)
    return path


def bits_and_colour_type(path):
    return struct.unpack(">BB", path.read_bytes()[24:26])


def test_a_photograph_becomes_a_one_bit_png(photo, tmp_path):
    out = tmp_path / "made" / "out.png"
    assert main(["--method", "bayer_8", str(photo), str(out)]) == 0
    assert bits_and_colour_type(out) == (1, 0)
    assert np.array_equal(cv2.imread(str(out), cv2.IMREAD_UNCHANGED), bayer(GRAY))
    assert [path.name for path in out.parent.iterdir()] == ["out.png"]


def test_the_halftones_of_a_folder_keep_the_names(photo, tmp_path):
    cv2.imwrite(str(tmp_path / "second.bmp"), BGR[::-1])
    (tmp_path / "notes.txt").write_text("not a photograph")
    assert main([str(tmp_path), str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo.one.png", "second.png"]


def test_a_bad_image_in_a_folder_is_skipped(photo, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    assert main([str(tmp_path), str(tmp_path / "out")]) == 3
    assert (
        "skipped: " in (error := capsys.readouterr().err)
        and "broken.jpg: " in error
        and "1 of 2 skipped: broken.jpg" in error
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.one.png"]


def test_options_are_passed_to_the_method(photo, tmp_path):
    out = tmp_path / "out.png"
    settings = ["--set", "pitch=8", "--set", "angle=10"]
    assert main(["--method", "am_round", *settings, str(photo), str(out)]) == 0
    assert np.array_equal(cv2.imread(str(out), 0), METHODS["am_round"](GRAY, pitch=8.0, angle=10.0))
    assert main(["--method", "stucki", "--set", "serpentine=false", str(photo), str(out)]) == 0
    assert np.array_equal(cv2.imread(str(out), 0), METHODS["stucki"](GRAY, serpentine=False))


def test_colour_halftones_equal_those_of_the_library(photo, tmp_path):
    out = tmp_path / "out.png"
    assert main(["--method", "am_round", "--colour", "cmyk", str(photo), str(out)]) == 0
    assert np.array_equal(cv2.imread(str(out)), am_cmyk(BGR))
    assert main(["--method", "bayer_4", "--colour", "rgb", str(photo), str(out)]) == 0
    assert np.array_equal(cv2.imread(str(out))[..., 1], METHODS["bayer_4"](np.ascontiguousarray(BGR[..., 1])))
    assert main(["--colour", "palette", "--palette", "#000000,ff0000,ffffff", str(photo), str(out)]) == 0
    written = {tuple(colour) for colour in cv2.imread(str(out)).reshape(-1, 3)}
    assert written == {(0, 0, 0), (0, 0, 255), (255, 255, 255)}


@pytest.mark.parametrize("kind", ["bmp", "pbm", "tif", "TIFF"])
def test_the_ending_gives_the_format(photo, tmp_path, kind):
    out = tmp_path / f"out.{kind}"
    assert main(["--method", "bayer_8", str(photo), str(out)]) == 0
    assert Image.open(out).mode == "1"
    assert np.array_equal(read_halftone(out), bayer(GRAY))
    assert main(["--halftone_format", "pbm", str(tmp_path / "photo.one.png"), str(tmp_path / "x.pbm")]) == 2
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in/p.png")
    assert main(["--halftone_format", kind.lower(), str(tmp_path / "in"), str(tmp_path / "folder")]) == 0
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [f"p.{kind.lower()}"]


def test_a_transparent_photograph_is_halftoned_on_white_or_the_background(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([BGR * 0, np.zeros_like(GRAY)]))
    for flags, level in (([], 255), (["--background", "black"], 0), (["--background", "fff"], 255)):
        assert main([*flags, str(tmp_path / "a.png"), str(tmp_path / "out.png")]) == 0
        assert (read_halftone(tmp_path / "out.png") == level).all()


def test_halftones_of_all_kinds_keep_the_resolution(tmp_path):
    Image.fromarray(BGR).save(tmp_path / "a.png", dpi=(200, 100))
    for number, flags in enumerate(([], ["--colour", "rgb"], ["--palette", "red,white,black"])):
        for suffix in ("png", "bmp", "tif"):
            out = tmp_path / f"{number}.{suffix}"
            assert main([*flags, str(tmp_path / "a.png"), str(out)]) == 0
            assert Image.open(out).info["dpi"] == pytest.approx((200, 100), abs=0.02)


@pytest.mark.parametrize(
    "flags", [[], ["--linear"], ["--method", "stucki"], ["--method", "bayer_8"], ["--method", "am_round"]]
)
def test_palettes_work_with_methods_and_linear_light_and_are_indexed(tmp_path, flags):
    """The mean of a constant colour inside the palette's gamut is kept, in sRGB levels or in linear light."""
    light = linear_light if "--linear" in flags else lambda levels: levels.astype(float)
    cv2.imwrite(str(tmp_path / "a.png"), np.full((64, 64, 3), (90, 90, 170), np.uint8))
    out = tmp_path / "out.png"
    assert main([*flags, "--palette", "000,WHITE,#ff0000", str(tmp_path / "a.png"), str(out)]) == 0
    written = Image.open(out)
    assert written.mode == "P" and written.getpalette()[:9] == [0, 0, 0, 255, 255, 255, 255, 0, 0]
    bgr = cv2.imread(str(out))
    means = [light(np.ascontiguousarray(bgr[..., channel])).mean() for channel in (0, 2)]
    wanted = [light(np.full((1, 1), level, np.uint8))[0, 0] for level in (90, 170)]
    assert np.abs(np.subtract(means, wanted)).max() < 6


def test_a_palette_of_black_and_white_dithers_as_the_method_itself(photo, tmp_path):
    cv2.imwrite(str(tmp_path / "gray.png"), GRAY)
    for method in ("bayer_4", "blue_noise", "floyd_steinberg"):
        for suffix, colours in (("png", "white,black"), ("pbm", "000,fff"), ("bmp", "#fff,#000")):
            out = tmp_path / f"out.{suffix}"
            assert main(["--method", method, "--palette", colours, str(tmp_path / "gray.png"), str(out)]) == 0
            assert suffix == "png" or Image.open(out).mode == "1"
            same = np.mean(read_halftone(out) == METHODS[method](GRAY))
            assert same > (0.97 if method != "floyd_steinberg" else 0.9)


def test_halftones_of_linear_light_are_darker(photo, tmp_path):
    means = []
    for flags in ([], ["--linear"]):
        main([*flags, str(photo), str(tmp_path / "out.png")])
        means.append(cv2.imread(str(tmp_path / "out.png"), 0).mean())
    assert means[1] < means[0] - 20


def test_linear_light_uses_the_luminance_of_the_colours(tmp_path):
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 2] = 255
    cv2.imwrite(str(tmp_path / "red.png"), red)
    assert main(["--linear", str(tmp_path / "red.png"), str(tmp_path / "out.png")]) == 0
    assert cv2.imread(str(tmp_path / "out.png"), 0).mean() == pytest.approx(0.2126 * 255, abs=2)


def test_an_interrupt_is_reported_by_the_exit_code(photo, tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("halftone.__main__._convert", stop)
    assert main([str(photo), str(tmp_path / "out.png")]) == 130
    assert capsys.readouterr().err == ""


def test_the_list_names_every_method_and_its_source(capsys):
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    for method in METHODS.values():
        assert method.name in printed and method.source in printed


def test_the_gallery_shows_every_method(photo, tmp_path):
    out = tmp_path / "gallery.png"
    assert main(["--gallery", str(photo), str(out)]) == 0
    sheet = cv2.imread(str(out), 0)
    shown = METHODS["bayer_16"](np.ascontiguousarray(GRAY[:, 7:37]))
    found = cv2.matchTemplate(sheet, shown, cv2.TM_SQDIFF)
    assert found.min() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photo}"], "IN and OUT"),
        (["{folder}/none.png", "{out}"], "none.png: cannot be read: No such file"),
        (["--method", "fs", "{photo}", "{out}"], "unknown method 'fs', known: floyd_steinberg"),
        (["--method", "bayer_8", "--set", "size=4", "{photo}", "{out}"], "bayer_8 has no option 'size=4', known: none"),
        (
            ["--method", "stucki", "--set", "noise=loud", "{photo}", "{out}"],
            "option noise must be a finite float, not 'loud'",
        ),
        (["--method", "stucki", "--set", "serpentine=2", "{photo}", "{out}"], "serpentine must be true or false"),
        (["--method", "am_line", "--set", "pitch=1", "{photo}", "{out}"], "photo.one.png: pitch must be at least 2"),
        (["--method", "green_noise", "--set", "kernel=x", "{photo}", "{out}"], "unknown kernel 'x', known"),
        (["--colour", "palette", "{photo}", "{out}"], "--palette"),
        (["--colour", "palette", "--palette", "reddish", "{photo}", "{out}"], "RRGGBB"),
        (["--palette", "fff,#12345", "{photo}", "{out}"], "'#12345' is not a colour"),
        (
            ["--palette", "red,white", "{photo}", "{folder}/out.pbm"],
            "out.pbm: halftones are written as .png, .bmp, .tif",
        ),
        (["--palette", "red,white", "--halftone_format", "pbm", "{folder}/twins", "{folder}/out"], "stores no colours"),
        (["--halftone_format", "pbm", "{photo}", "{out}"], "--halftone_format is for a folder"),
        (["--background", "see-through", "{photo}", "{out}"], "'see-through' is not a colour"),
        (["--colour", "cmyk", "--linear", "{photo}", "{out}"], "--linear"),
        (["{photo}", "{folder}/out.jpg"], "out.jpg: halftones are written as .png"),
        (["{folder}/text.png", "{out}"], "text.png: not an image"),
        (["{folder}/empty", "{folder}/out"], "empty: contains no images"),
        (["{photo}", "{photo}/out.png"], "photo.one.png: not a folder"),
        (["{photo}", "{photo}"], "photo.one.png is the input and would be overwritten"),
        (["{folder}", "{folder}"], "output folder must differ"),
        (["{folder}", "{photo}"], "photo.one.png: not a folder"),
        (["{photo}", "{folder}/empty"], "empty: halftones are written as .png"),
        (["--method", "am_line", "--set", "angle=nan", "{photo}", "{out}"], "angle must be a finite float, not 'nan'"),
        (["--method", "blue_noise", "--set", "size=200000", "{photo}", "{out}"], "not enough memory"),
        (
            ["--palette", "000", "--method", "ostromoukhov", "{photo}", "{out}"],
            "ostromoukhov knows black and white only",
        ),
        (
            ["--palette", "000", "--method", "stucki", "--set", "noise=1", "{photo}", "{out}"],
            "for palettes: serpentine",
        ),
        (["--gallery", "--method", "stucki", "{photo}", "{out}"], "no other options"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, message, photo, tmp_path, capsys):
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "twins").mkdir()
    for name in ("a.png", "a.bmp"):
        cv2.imwrite(str(tmp_path / "twins" / name), BGR)
    words = [word.format(photo=photo, folder=tmp_path, out=tmp_path / "out.png") for word in arguments]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not list(tmp_path.glob("**/.*")), "a temporary file was left behind"
