"""Actions of the page, called directly."""

import os
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from halftone.methods import METHODS
from halftone.screens import am_cmyk
from images.files import read_halftone, read_image, write_halftone, write_image
from reshalf import PAPER as PAPER_CHECKPOINT
from reshalf import ResHalfCodec
from utils.errors import UserError
from web.actions import AS_TRAINED, BEST, FAST, PAPER, READ_SHEET, Actions
from web.scratch import LIFETIME, Scratch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def actions(checkpoint, tmp_path_factory):
    return Actions(ResHalfCodec(checkpoint, "cpu"), Scratch(tmp_path_factory.mktemp("results")), 200_000)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "my photo.png"
    write_image(path, cv2.resize(cv2.imread(str(ROOT / "test_imgs/coffee.jpg")), (72, 40)))
    return path


def test_dithering_returns_the_halftone_of_the_codec_with_one_bit_per_pixel(actions, photo):
    shares = []
    result = actions.dither(photo, progress=lambda share, step: shares.append(share))
    bgr = read_image(photo).bgr
    halftone = actions.codec.halftone(bgr)
    path = result.downloads["halftone"]
    assert path.name == "my photo_halftone.png"
    assert path.read_bytes()[24:26] == b"\1\0", "one bit, gray"
    np.testing.assert_array_equal(read_halftone(path), halftone)
    np.testing.assert_array_equal(read_image(result.downloads["restored"]).bgr, actions.codec.restore(halftone))
    np.testing.assert_array_equal(read_image(result.images["photograph"]).bgr, bgr)
    assert {name.split(",")[-1].strip() for name in result.values} >= {"PSNR", "SSIM", "tone (σ 1.5)"}
    assert shares == sorted(shares) and shares[0] == 0


def test_every_encoder_returns_a_halftone_of_its_own(photo, tmp_path):
    paper = ResHalfCodec(PAPER_CHECKPOINT, "cpu")
    actions = Actions(ResHalfCodec(device="cpu"), Scratch(tmp_path / "results"), 200_000, paper)
    assert list(actions.encoders) == [FAST, AS_TRAINED, BEST, PAPER]
    results = [actions.dither(photo, encoder) for encoder in actions.encoders]
    found = [read_halftone(result.downloads["halftone"]) for result in results]
    bgr = read_image(photo).bgr
    assert np.array_equal(found[1], actions.codec.halftone(bgr)) and np.array_equal(found[3], paper.halftone(bgr))
    assert all((one != other).any() for one, other in combinations(found, 2))
    by_paper = actions.restore(results[3].downloads["halftone"], decoder=PAPER).downloads["restored"]
    for path in (by_paper, results[3].downloads["restored"]):
        np.testing.assert_array_equal(read_image(path).bgr, paper.restore(found[3]))


def test_only_searches_the_network_supports_are_offered(actions):
    assert list(actions.encoders) == [FAST, AS_TRAINED] and list(actions.decoders) == [
        AS_TRAINED
    ]  # the checkpoint has no proxy


def test_uploads_of_all_pixel_formats_are_read_as_read_image_does(actions, tmp_path):
    """16 bits, rotated by EXIF, CMYK, with alpha, a single pixel."""
    ramp = np.linspace(0, 65535, 40 * 20).reshape(20, 40).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), ramp)
    turned = Image.new("RGB", (40, 20), "red")
    exif = turned.getexif()
    exif[274] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    Image.new("CMYK", (40, 20), (0, 255, 255, 0)).save(tmp_path / "ink.jpg")
    Image.new("RGBA", (40, 20), (9, 9, 200, 77)).save(tmp_path / "clear.png")
    Image.new("RGB", (1, 1), "blue").save(tmp_path / "dot.png")
    for name, size in {
        "deep.png": (20, 40),
        "turned.jpg": (40, 20),
        "ink.jpg": (20, 40),
        "clear.png": (20, 40),
        "dot.png": (1, 1),
    }.items():
        result = actions.dither(tmp_path / name)
        assert result.size == size == read_halftone(result.downloads["halftone"]).shape
        np.testing.assert_array_equal(
            read_image(result.images["photograph"]).bgr, read_image(tmp_path / name).bgr, err_msg=name
        )
    alpha = read_image(actions.dither(tmp_path / "clear.png").downloads["restored"]).alpha
    assert (alpha == 77).all()


def test_transparent_photographs_are_on_white_and_files_keep_alpha_and_resolution(actions, tmp_path):
    clear = Image.new("RGBA", (40, 20), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (8, 0, 24, 20))
    clear.save(tmp_path / "logo.png", dpi=(300, 150), icc_profile=b"damaged")
    for work in (actions.dither, lambda path: actions.classical(path, "bayer_8")):
        result = work(tmp_path / "logo.png")
        assert (read_halftone(result.downloads["halftone"])[:, 26:] == 255).all()
        assert "Its damaged colour profile is not supported" in result.remark
        for path in result.downloads.values():
            assert read_image(path).resolution == pytest.approx((300, 150), abs=0.02)
    restored = read_image(actions.dither(tmp_path / "logo.png").downloads["restored"])
    np.testing.assert_array_equal(restored.alpha, np.asarray(clear)[..., 3])
    scan = actions.descreen(tmp_path / "logo.png", "gaussian", pitch=4.0)
    assert (read_image(scan.downloads["restored"]).alpha == np.asarray(clear)[..., 3]).all()
    screened = read_image(scan.downloads["new screen"])
    assert screened.alpha is None and (screened.bgr[:, 34:] == 255).all()


def test_restoring_accepts_halftones_and_with_force_any_image(actions, photo, tmp_path):
    halftone = actions.codec.halftone(read_image(photo).bgr)
    write_halftone(tmp_path / "dots.png", halftone)
    result = actions.restore(tmp_path / "dots.png")
    np.testing.assert_array_equal(read_image(result.downloads["restored"]).bgr, actions.codec.restore(halftone))
    with pytest.raises(UserError, match=r"^my photo\.png: not a halftone: \d+% of the pixels"):
        actions.restore(photo)
    assert actions.restore(photo, force=True).size == (40, 72)


def test_a_changed_halftone_is_repaired_and_the_remark_says_so(actions, photo, tmp_path):
    halftone = actions.codec.halftone(read_image(photo).bgr)
    write_halftone(tmp_path / "dots.png", 255 - halftone.repeat(2, 0).repeat(2, 1))
    result = actions.restore(tmp_path / "dots.png", invert=True)  # this network has no pilot
    assert result.remark == "Found and undone: every pixel repeated 2 × 2 times: now 72 × 40."
    np.testing.assert_array_equal(read_image(result.downloads["restored"]).bgr, actions.codec.restore(halftone))


@pytest.mark.parametrize("work", ["dither", "restore", "descreen", "classical", "sheet"])
def test_an_unreadable_file_raises_one_line_that_begins_with_its_name_without_folder(actions, tmp_path, work):
    Image.new("1", (500, 401)).save(tmp_path / "large.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "large.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("no image")
    options = {"descreen": ["gaussian"], "classical": ["bayer_4"]}.get(work, [])
    for name, reason in (("large.png", "0.2005 megapixels, limit 0.2"), ("torn.png", ""), ("text.png", "not an image")):
        with pytest.raises(UserError) as refusal:
            getattr(actions, work)(tmp_path / name, *options)
        line = str(refusal.value)
        assert line.startswith(f"{name}: ") and reason in line and str(tmp_path) not in line and "\n" not in line


def test_descreening_detects_the_screen_and_applies_the_chosen_one(actions, photo, tmp_path):
    large = cv2.resize(read_image(photo).bgr, (288, 160), interpolation=cv2.INTER_CUBIC)
    write_image(tmp_path / "printed.png", am_cmyk(large, pitch=5.0))
    for method in actions.descreeners:
        own, chosen = (actions.descreen(tmp_path / "printed.png", method, pitch=pitch) for pitch in (None, 8.0))
        assert " 5.0" in own.remark and "px" in own.remark
        again = [read_image(result.downloads["new screen"]).bgr for result in (own, chosen)]
        assert (again[0] != again[1]).any()
        restored = read_image(own.downloads["restored"]).bgr
        assert cv2.norm(restored, large) < cv2.norm(read_image(tmp_path / "printed.png").bgr, large) / 2


@pytest.mark.parametrize("method", METHODS)
def test_every_classical_method_returns_its_halftone_and_source(actions, photo, method):
    result = actions.classical(photo, method)
    gray = cv2.cvtColor(read_image(photo).bgr, cv2.COLOR_BGR2GRAY)
    np.testing.assert_array_equal(read_halftone(result.downloads["halftone"]), METHODS[method](gray))
    assert METHODS[method].source in result.remark


def test_halftoning_in_linear_light_is_darker_than_in_srgb(actions, photo):
    srgb, linear = (actions.classical(photo, "ostromoukhov", light).downloads["halftone"] for light in (False, True))
    assert read_halftone(linear).mean() < read_halftone(srgb).mean()


def test_results_are_deleted_after_the_retention_time_and_not_before(tmp_path):
    scratch = Scratch(tmp_path)
    old, young = scratch.new(), scratch.new()
    (old / "halftone.png").write_bytes(b"x")
    for folder, age in ((old, LIFETIME + 60), (young, LIFETIME - 60)):
        then = folder.stat().st_mtime - age
        os.utime(folder, (then, then))
    fresh = scratch.new()
    assert (old.exists(), young.exists(), fresh.exists()) == (False, True, True)


def test_a_photograph_becomes_a_sheet_and_its_image_the_photograph(actions, photo, tmp_path):
    made = actions.sheet(photo, paper="letter", cell=5)
    assert [path.name for path in made.downloads.values()] == ["my photo_sheet.pdf", "my photo_sheet.png"]
    page = read_halftone(made.downloads["sheet as PNG"])
    assert page.shape == (6600, 5100) and made.values["sheets"] == "1"
    halftone = actions.codec.halftone(read_image(photo).bgr)
    np.testing.assert_array_equal(read_halftone(made.images["halftone"]), halftone)
    write_image(
        tmp_path / "scan.png", cv2.resize(page[:1200, 2000:3100], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    )
    read = actions.sheet(tmp_path / "scan.png")
    np.testing.assert_array_equal(read_halftone(read.downloads["halftone"]), halftone)
    np.testing.assert_array_equal(read_image(read.downloads["restored"]).bgr, actions.codec.restore(halftone))
    assert read.values["doubtful pixels"] == "0.00%"
    with pytest.raises(UserError, match=r"^my photo\.png: no markers of a sheet found"):
        actions.sheet(photo, task=READ_SHEET)


def test_scans_of_sheets_may_be_larger_than_photographs(actions, tmp_path):
    write_halftone(tmp_path / "large.png", np.zeros((500, 401), np.uint8))
    with pytest.raises(UserError, match=r"^large\.png: .*0.2005 megapixels, limit 0.2"):
        actions.sheet(tmp_path / "large.png")
    with pytest.raises(UserError, match="no markers"):
        actions.sheet(tmp_path / "large.png", task=READ_SHEET)
