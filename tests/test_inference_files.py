"""Files as people have them through inference_fast.py: transparency, resolution, formats, colours, names, odd files."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

import inference_fast
from descreen import rescreen
from images.files import read_halftone, read_image, write_image
from reshalf import ResHalfCodec

BGR = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8), (0, 0), 2)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def logo(mode):
    """Black bars on a transparent background whose hidden colour is black."""
    alpha = np.zeros((24, 32), np.uint8)
    alpha[6:18, 4:8] = alpha[6:18, 20:24] = 255
    image = Image.merge("RGBA", [Image.new("L", (32, 24))] * 3 + [Image.fromarray(alpha)])
    return image if mode == "RGBA" else image.convert(mode), alpha


@pytest.mark.parametrize("background", [None, "white", "f80"])
def test_a_transparent_logo_is_halftoned_on_the_background_and_gets_its_alpha_back(
    run, checkpoint, photos, tmp_path, capsys, background
):
    for mode in ("RGBA", "LA"):
        image, alpha = logo(mode)
        image.save(photos / f"{mode}.png")
    flags = ["--background", background] if background else []
    assert run(checkpoint, photos, tmp_path / "out", *flags) == 0
    assert run(checkpoint, photos, tmp_path / "out", *flags, "--skip_existing") == 0
    assert "2 finished before" in capsys.readouterr().out
    shade = {"f80": (0, 136, 255)}.get(background, (255, 255, 255))
    expected = ResHalfCodec(checkpoint, "cpu").halftone(
        np.where(alpha[..., None] == 0, np.uint8(shade), np.uint8(0)).astype(np.uint8)
    )
    for mode in ("RGBA", "LA"):
        np.testing.assert_array_equal(read_halftone(tmp_path / f"out/halftone/{mode}.png"), expected)
        np.testing.assert_array_equal(read_image(tmp_path / f"out/restored/{mode}.png").alpha, alpha)


def test_a_restoration_with_its_alpha_looks_on_white_as_it_was_restored(run, checkpoint, photos, tmp_path):
    alpha = np.repeat(np.arange(8, dtype=np.uint8) * 36, 4)[None].repeat(24, axis=0)
    write_image(photos / "a.png", BGR, alpha)
    assert run(checkpoint, photos, tmp_path / "out") == 0
    assert run(checkpoint, tmp_path / "out/halftone", tmp_path / "back", "--decoding") == 0
    made, opaque = read_image(tmp_path / "out/restored/a.png"), read_image(tmp_path / "back/restored/a.png").bgr
    share = made.alpha[..., None] / 255
    shown = made.bgr * share + 255 * (1 - share)
    possible = opaque >= np.floor(255 * (1 - share))  # what some colour of this transparency shows
    assert np.abs(shown - opaque)[possible & (share > 0)].max() <= 1


@pytest.mark.parametrize("turn", [1, 6])
def test_every_output_has_the_resolution_of_the_upright_photograph(run, checkpoint, photos, tmp_path, turn):
    exif = Image.Exif()
    exif[274] = turn
    Image.fromarray(BGR).save(photos / "a.jpg", dpi=(300, 150), exif=exif)
    assert run(checkpoint, photos, tmp_path / "out") == 0
    assert run(checkpoint, tmp_path / "out/halftone", tmp_path / "back", "--decoding") == 0
    folders = ["--data_dir", str(photos), "--save_dir", str(tmp_path / "scan"), "--method", "gaussian"]
    assert rescreen.main([*folders, "--pitch", "4"]) == 0
    expected = (150, 300) if turn == 6 else (300, 150)
    outputs = [*tmp_path.glob("out/*/*.png"), *tmp_path.glob("back/*/*.png"), *tmp_path.glob("scan/*/*.png")]
    assert len(outputs) == 5
    for path in outputs:
        with Image.open(path) as image:
            assert image.info["dpi"] == pytest.approx(expected, abs=0.02) and "exif" not in image.info, path


@pytest.mark.parametrize("kind", ["bmp", "pbm", "tif"])
def test_halftones_are_written_in_other_formats_and_restored_from_them(run, checkpoint, photos, tmp_path, kind):
    write_image(photos / "a.b.png", BGR)
    for folder, flags in (("png", []), ("other", ["--halftone_format", kind])):
        assert run(checkpoint, photos, tmp_path / folder, *flags) == 0
    path = tmp_path / f"other/halftone/a.b.{kind}"
    assert Image.open(path).mode == "1" and not list((tmp_path / "other/halftone").glob("*.png"))
    np.testing.assert_array_equal(read_halftone(path), read_halftone(tmp_path / "png/halftone/a.b.png"))
    assert run(checkpoint, path, tmp_path / "back", "--decoding") == 0
    restored = [(tmp_path / folder / "restored/a.b.png").read_bytes() for folder in ("png", "other", "back")]
    assert restored[0] == restored[1] == restored[2]
    before = path.stat().st_mtime_ns
    assert run(checkpoint, photos, tmp_path / "other", "--halftone_format", kind, "--skip_existing") == 0
    assert path.stat().st_mtime_ns == before
    assert run(checkpoint, photos, tmp_path / "other", "--skip_existing") == 0
    assert (tmp_path / "other/halftone/a.b.png").exists()


def test_an_input_halftone_is_not_overwritten_in_its_own_format(run, checkpoint, tmp_path, capsys):
    (tmp_path / "halftone").mkdir()
    write_image(tmp_path / "halftone/a.bmp", BGR)
    assert run(checkpoint, tmp_path / "halftone", tmp_path, "--halftone_format", "bmp") == 2
    assert "would be overwritten" in capsys.readouterr().err


def test_photographs_that_differ_in_their_ending_only_are_both_done(run, checkpoint, photos, tmp_path, capsys):
    for name in ("a.jpg", "a.png", "a.jpg.png", "b.bmp"):
        write_image(photos / name, BGR)
    (photos / "b.png").mkdir()  # a folder of the name of a result
    write_image(photos / "b.png/c.png", BGR)
    out = tmp_path / "out"
    assert run(checkpoint, photos, out, "--recursive") == 0
    written = {path.relative_to(out / "halftone").as_posix() for path in (out / "halftone").rglob("*.png")}
    assert written - {"b.png"} == {"a.jpg.png", "a.png.png", "a.jpg.png.png", "b.bmp.png", "b.png/c.png"}
    said = [line for line in capsys.readouterr().err.splitlines() if "but for the ending" in line]
    assert said == [
        f"{photos}: 4 files have the name of another but for the ending; their results keep it: a.jpg becomes a.jpg.png"
    ]
    names = [json.loads(line)["name"] for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert len(set(names)) == 5


def test_files_are_read_by_content_and_others_are_counted_once(run, checkpoint, photos, tmp_path, capsys):
    for kind, name in {"JPEG": "photo.jpg_large", "PNG": "scan", "PPM": "x.img", "BMP": "y.1"}.items():
        Image.fromarray(BGR).save(photos / name, kind)
    (photos / "notes.txt").write_text("P6")
    (photos / "list.csv").write_text("1,2")
    assert run(checkpoint, photos, tmp_path / "out") == 0
    made = sorted(path.name for path in (tmp_path / "out/restored").iterdir())
    assert made == ["photo.jpg_large.png", "scan.png", "x.img.png", "y.1.png"]
    assert capsys.readouterr().err.count(f"{photos}: 2 other files ignored\n") == 1


def test_one_file_is_accepted_as_data_dir(run, checkpoint, photos, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        write_image(photos / name, BGR)
    assert run(checkpoint, photos / "a.png", tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out/halftone").iterdir()] == ["a.png"]
    (photos / "text").write_text("no image")
    assert run(checkpoint, photos / "text", tmp_path / "out") == 3
    assert "text: not an image" in capsys.readouterr().err


def test_an_unsupported_colour_tag_is_one_warning(run, checkpoint, photos, tmp_path, capsys):
    Image.fromarray(BGR).save(photos / "a.png", icc_profile=b"damaged")
    assert run(checkpoint, photos, tmp_path / "out") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning: " in line]
    assert len(lines) == 1 and f"{photos / 'a.png'}: its damaged colour profile is not supported" in lines[0]


@pytest.mark.parametrize("flags", [["--halftone_format", "bmp"], ["--background", "red"]])
def test_flags_of_halftoning_are_refused_with_decoding(run, checkpoint, photos, tmp_path, capsys, flags):
    assert run(checkpoint, photos, tmp_path / "out", "--decoding", *flags) == 2
    assert "not with --decoding" in capsys.readouterr().err


def test_what_is_no_image_is_a_value_error(checkpoint):
    codec = ResHalfCodec(checkpoint, "cpu")
    for method in (codec.halftone, codec.restore):
        for wrong in (None, "photo.jpg", Image.fromarray(BGR), [[0, 255]], BGR.astype(float), BGR[..., :2], BGR[:0]):
            with pytest.raises(ValueError, match="image"):
                method(wrong)
    assert inference_fast.parse([]).background is None
