"""python -m reshalf.sheet: photographs and halftones to pages, simulated scans of the pages to photographs."""

import cv2
import numpy as np
import pytest

from images.files import read_halftone, read_image, write_halftone, write_image
from reshalf import ResHalfCodec
from reshalf.sheet import page
from reshalf.sheet.__main__ import main
from reshalf.sheet.layout import Layout
from reshalf.sheet.read_job import restore

NO_MARKERS = "no markers of a sheet found: not a scan of a sheet, or too coarse, blurred or dark"


@pytest.fixture
def folders(tmp_path):
    """Three folders: sheets, scans (which exists), and what was read."""
    (tmp_path / "scans").mkdir()
    return tmp_path / "sheets", tmp_path / "scans", tmp_path / "back"


@pytest.fixture
def sheet(with_pilot, capsys):
    """Function: run a command on the CPU; returns its exit code, and its lines on standard error."""

    def call(command, source, out, *more):
        capsys.readouterr()
        options = ["--model", str(with_pilot), "--device", "cpu", *more]
        code = main([command, "--data_dir", str(source), "--save_dir", str(out), *options])
        return code, capsys.readouterr().err.splitlines()

    return call


def scan(page, path, scale=1.0):
    """Write a page, turned by a degree and at another resolution; tests of reading simulate paper as well."""
    dots = read_halftone(page)
    small = cv2.resize(dots, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((0, 0), 1, 1)
    write_image(path, cv2.warpAffine(small, turn, small.shape[::-1], flags=cv2.INTER_CUBIC, borderValue=255))


def test_photographs_and_halftones_come_back_from_their_scans(sheet, with_pilot, make_photos, folders):
    photos, (sheets, scans, back) = make_photos({"a": (72, 96)}), folders
    codec = ResHalfCodec(with_pilot, "cpu")
    expected = codec.halftone(read_image(photos / "a.png").bgr)
    write_halftone(photos / "ready.png", expected)
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    code, lines = sheet("make", photos, sheets, "--dpi", "150", "--cell", "4")
    assert code == 3 and sum("torn.jpg" in line for line in lines) == 2
    page = read_halftone(sheets / "png/a.png")
    assert page.shape == (1754, 1240) and read_image(sheets / "png/a.png").resolution == pytest.approx(
        (150, 150), abs=0.02
    )
    assert (sheets / "pdf/a.pdf").read_bytes().startswith(b"%PDF") and (sheets / "pdf/ready.pdf").exists()

    for name in ("a", "ready"):
        scan(sheets / f"png/{name}.png", scans / f"{name}.png")
    write_image(scans / "cat.png", read_image(photos / "a.png").bgr)
    code, lines = sheet("read", scans, back)
    assert code == 3
    assert lines == [
        f"skipped: {scans / 'cat.png'}: {NO_MARKERS}",
        "1 of 3 skipped: cat.png",
    ]
    for name in ("a", "ready"):
        found = read_halftone(back / f"halftone/{name}.png")
        assert np.mean(found != expected) < 0.003
        np.testing.assert_array_equal(read_image(back / f"restored/{name}.png").bgr, codec.restore(found))
    assert read_image(back / "restored/a.png").resolution == pytest.approx((37.5, 37.5), abs=0.02)


def test_what_an_input_is_can_be_said(sheet, make_photos, tmp_path):
    photos = make_photos({"a": (40, 48)})
    striped = np.where(np.indices((120, 160)).sum(axis=0) % 7 > 2, np.uint8(255), np.uint8(0))
    write_halftone(photos / "stripes.png", striped)
    frame = Layout(160, 120).frame

    def pictures(kind):
        code, lines = sheet("make", photos, tmp_path / kind, "--dpi", "150", "--cell", "3", "--input", kind)
        dots = read_halftone(tmp_path / kind / "png/stripes.png")
        top, left = (
            round(10 / 25.4 * 150) - frame[0] * 3,
            (dots.shape[1] - (frame[3] - frame[1]) * 3) // 2 - frame[1] * 3,
        )
        return code, lines, dots[top : top + 360 : 3, left : left + 480 : 3]

    code, _, picture = pictures("auto")
    assert code == 0 and (picture != striped).any(), "black and white without the pilot: a photograph"
    code, lines, picture = pictures("halftones")
    assert code == 3 and (picture == striped).all()
    assert lines[0].startswith(f"skipped: {photos / 'a.png'}: not a halftone")
    assert pictures("photographs")[0] == 0


def test_a_large_picture_is_joined_when_all_its_sheets_are_there(sheet, with_pilot, make_photos, folders):
    photos, (sheets, scans, back) = make_photos({"big": (80, 400)}), folders
    assert sheet("make", photos, sheets, "--dpi", "150", "--cell", "6")[0] == 0
    pages = sorted(path.name for path in (sheets / "png").iterdir())
    assert pages == ["big.png", "big_sheet2.png"]
    expected = ResHalfCodec(with_pilot, "cpu").halftone(read_image(photos / "big.png").bgr)
    for name in pages[:-1]:
        scan(sheets / "png" / name, scans / name, 0.6)
    code, lines = sheet("read", scans, back)
    assert code == 3 and lines[-1] == f"big: not joined: sheet {len(pages)} of {len(pages)} is missing"
    scan(sheets / "png" / pages[-1], scans / pages[-1], 0.6)
    assert sheet("read", scans, back, "--skip_existing")[0] == 0
    joined = read_halftone(back / "halftone/big_joined.png")
    assert joined.shape == expected.shape and np.mean(joined != expected) < 0.003
    assert read_image(back / "restored/big_joined.png").bgr.shape == (80, 400, 3)


@pytest.mark.parametrize(
    "flags,line",
    [
        (["--cell", "1"], "error: --cell 1: allowed: 2 to 64"),
        (["--dpi", "20"], "error: --dpi 20: allowed: 100 to 4800"),
        (["--cell", "60"], "error: --cell 60: too large for a4 at 600 dpi"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(sheet, make_photos, tmp_path, flags, line):
    assert sheet("make", make_photos({"a": (8, 8)}), tmp_path / "out", *flags) == (2, [line])


def test_a_picture_with_too_many_sheets_costs_no_other(sheet, make_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MAX_SHEETS", 1)
    photos = make_photos({"a": (16, 16), "long": (16, 400)})
    code, lines = sheet("make", photos, tmp_path / "out", "--dpi", "150", "--cell", "6")
    assert code == 3 and sorted(path.name for path in (tmp_path / "out/pdf").iterdir()) == ["a.pdf"]
    assert lines[0] == f"skipped: {photos / 'long.png'}: needs 2 sheets, allowed: 1; --one_sheet shrinks it"


def test_many_doubtful_pixels_reach_the_decoder_as_probabilities(with_pilot, dots):
    codec, halftone = ResHalfCodec(with_pilot, "cpu", precision="float32"), dots()
    doubtful = halftone.copy()
    doubtful[10:20, 10:20] = 100
    likely = np.where(doubtful > 127, np.uint8(255), np.uint8(0))
    np.testing.assert_array_equal(codec.restore_uncertain(halftone), codec.restore(halftone))
    assert (codec.restore_uncertain(doubtful) != codec.restore(likely)).any()
    np.testing.assert_array_equal(restore(codec, doubtful), codec.restore_uncertain(doubtful))
    np.testing.assert_array_equal(restore(codec, halftone), codec.restore(halftone))
    few = halftone.copy()
    few[0, :3] = 100
    np.testing.assert_array_equal(restore(codec, few), codec.restore(np.where(few > 127, np.uint8(255), np.uint8(0))))


def test_uncertain_pixels_are_aligned_with_the_pilot_as_certain_ones(with_pilot, make_photos, tmp_path):
    codec = ResHalfCodec(with_pilot, "cpu", precision="float32")
    photo = read_image(make_photos({"a": (96, 88)}) / "a.png").bgr
    turned = np.ascontiguousarray(np.rot90(codec.halftone(photo))[1:, 1:])
    np.testing.assert_array_equal(codec.restore_uncertain(turned), codec.restore(turned))
