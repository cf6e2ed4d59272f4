"""Real files in, real files out: every format, every way a file can be bad."""

import errno
import os
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from images.files import (
    list_images,
    read_halftone,
    read_image,
    write_halftone,
    write_image,
)
from utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # pytest undoes the module's own filter

RGB = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8), (0, 0), 2)
BGR = np.ascontiguousarray(RGB[..., ::-1])
ALPHA = np.arange(37 * 53, dtype=np.uint16).reshape(37, 53).astype(np.uint8)
PHOTO = Pillow.fromarray(RGB)
GRAY = PHOTO.convert("L")
RGBA = Pillow.fromarray(np.dstack([RGB, ALPHA]))
GRAY_BGR = np.repeat(np.asarray(GRAY)[..., None], 3, axis=2)


def saved(folder: Path, name: str, image: Pillow.Image, **options) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.webp", {"lossless": True}),
        ("a.bmp", {}),
        ("a.tif", {}),
        ("a.tiff", {"compression": "tiff_lzw"}),
        ("deflated.tif", {"compression": "tiff_deflate"}),
        ("LOUD.PNG", {}),
        ("IMG.2024.01.05 (copy).png", {}),
        ("Grüße 写真.png", {}),
    ],
)
def test_lossless_files_give_their_pixels(tmp_path, name, options):
    image = read_image(saved(tmp_path, name, PHOTO, **options))
    np.testing.assert_array_equal(image.bgr, BGR)
    assert image.alpha is None


@pytest.mark.parametrize("options", [{"quality": 95}, {"quality": 60}, {"progressive": True}])
def test_jpeg_gives_what_pillow_decodes(tmp_path, options):
    path = saved(tmp_path, "a.JPG", PHOTO, **options)
    np.testing.assert_array_equal(read_image(path).bgr[..., ::-1], np.asarray(Pillow.open(path)))


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_thin_images_are_read(tmp_path, size, suffix):
    image = read_image(saved(tmp_path, f"a.{suffix}", Pillow.new("RGB", size, (255, 255, 255))))
    assert image.bgr.shape == (size[1], size[0], 3)
    assert (image.bgr > 250).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, suffix, orientation):
    exif = Pillow.Exif()
    exif[274] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(tmp_path, f"a.{suffix}", RGBA.convert("RGB"), exif=exif, **options)
    plain = saved(tmp_path, f"plain.{suffix}", RGBA.convert("RGB"), **options)
    reference = Pillow.open(plain).convert("RGB")
    reference.getexif()[274] = orientation
    expected = np.asarray(ImageOps.exif_transpose(reference))
    np.testing.assert_array_equal(read_image(path).bgr[..., ::-1], expected)


def test_alpha_turns_with_the_picture(tmp_path):
    exif = Pillow.Exif()
    exif[274] = 6
    image = read_image(saved(tmp_path, "a.png", RGBA, exif=exif))
    np.testing.assert_array_equal(image.alpha, np.rot90(ALPHA, -1))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_kept_apart_and_colours_are_not_multiplied_by_it(tmp_path, suffix):
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    image = read_image(saved(tmp_path, f"a.{suffix}", RGBA, **options))
    np.testing.assert_array_equal(image.bgr, BGR)
    np.testing.assert_array_equal(image.alpha, ALPHA)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_gray_with_alpha(tmp_path, suffix):
    image = read_image(saved(tmp_path, f"a.{suffix}", RGBA.convert("LA")))
    np.testing.assert_array_equal(image.bgr, GRAY_BGR)
    np.testing.assert_array_equal(image.alpha, ALPHA)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_gray_becomes_three_equal_channels(tmp_path, suffix):
    np.testing.assert_array_equal(read_image(saved(tmp_path, f"a.{suffix}", GRAY)).bgr, GRAY_BGR)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_one_bit_files_are_black_and_white(tmp_path, name):
    bits = PHOTO.convert("1")
    expected = np.repeat(np.asarray(bits.convert("L"))[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image(saved(tmp_path, name, bits)).bgr, expected)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_palette_is_resolved(tmp_path, suffix):
    palette = PHOTO.quantize(16)
    image = read_image(saved(tmp_path, f"a.{suffix}", palette))
    np.testing.assert_array_equal(image.bgr[..., ::-1], np.asarray(palette.convert("RGB")))


def test_transparent_palette_entry_becomes_alpha(tmp_path):
    palette = PHOTO.quantize(16)
    image = read_image(saved(tmp_path, "a.png", palette, transparency=3))
    np.testing.assert_array_equal(image.alpha, np.where(np.asarray(palette) == 3, 0, 255))


def test_transparent_gray_level_becomes_alpha(tmp_path):
    level = int(np.asarray(GRAY)[0, 0])
    image = read_image(saved(tmp_path, "a.png", GRAY, transparency=level))
    np.testing.assert_array_equal(image.alpha, np.where(np.asarray(GRAY) == level, 0, 255))


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_gives_the_colours_it_was_made_from(tmp_path, suffix):
    image = read_image(saved(tmp_path, f"a.{suffix}", PHOTO.convert("CMYK"), quality=100))
    assert np.abs(image.bgr.astype(int) - BGR).mean() < 3


def test_profile_is_converted_to_srgb_and_srgb_left_alone(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A profile whose red and blue primaries have changed places shows red where the file says blue.
    exchanged = srgb.replace(b"rXYZ", b"....", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"....", b"bXYZ", 1)
    np.testing.assert_array_equal(read_image(saved(tmp_path, "a.png", PHOTO, icc_profile=srgb)).bgr, BGR)
    converted = read_image(saved(tmp_path, "b.png", PHOTO, icc_profile=exchanged)).bgr
    assert np.abs(converted.astype(int) - RGB).max() <= 2
    damaged = read_image(saved(tmp_path, "c.png", PHOTO, icc_profile=srgb[:200])).bgr
    np.testing.assert_array_equal(damaged, BGR)


DEEP = {"uint16": 65535, "uint32": 2**32 - 1, "float16": 1, "float32": 1, "float64": 1}


@pytest.mark.parametrize("dtype", DEEP)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_deep_tiff_is_scaled_by_its_type(tmp_path, dtype, channels, planar):
    levels = np.dstack([RGB, ALPHA])[..., :channels].astype(np.float64)
    deep = (levels / 255 * DEEP[dtype]).round(0 if dtype.startswith("u") else 9).astype(dtype)
    stored = deep[..., 0] if channels == 1 else np.moveaxis(deep, 2, 0) if planar == "separate" else deep
    options = {} if channels == 1 else {"planarconfig": planar}
    if channels == 4:
        options["extrasamples"] = ["unassalpha"]
    photometric = "minisblack" if channels == 1 else "rgb"
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric=photometric, **options)
    image = read_image(tmp_path / "a.tif")
    expected = np.repeat(RGB[..., :1], 3, axis=2) if channels == 1 else BGR
    np.testing.assert_array_equal(image.bgr, expected)
    assert channels < 4 or np.array_equal(image.alpha, ALPHA)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_deep_png_is_scaled_by_its_type(tmp_path, channels):
    deep = np.dstack([BGR, ALPHA])[..., :channels].astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "a.png"), deep)
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.bgr, np.repeat(BGR[..., :1], 3, axis=2) if channels == 1 else BGR)
    assert channels < 4 or np.array_equal(image.alpha, ALPHA)


def test_deep_tiff_with_a_codec_only_opencv_has(tmp_path):
    deep = Pillow.fromarray(np.asarray(GRAY).astype(np.uint16) * 257)
    image = read_image(saved(tmp_path, "a.tif", deep, compression="tiff_lzw"))
    np.testing.assert_array_equal(image.bgr, GRAY_BGR)


def test_deep_tiff_is_turned_upright_and_inverted_when_it_says_so(tmp_path):
    deep = np.asarray(GRAY).astype(np.uint16) * 257
    turned = [(274, "H", 1, 6, True)]
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="miniswhite", extratags=turned)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").bgr, 255 - np.rot90(GRAY_BGR, -1))


def refusal(path: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        read_image(path, **options)
    line = str(caught.value)
    assert str(path) in line and "\n" not in line
    return line


def test_float_tiff_that_is_not_scaled_to_one_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.float32), photometric="rgb")
    assert "white must be 1.0" in refusal(tmp_path / "a.tif")


def test_nan_and_signed_pixels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8), np.nan, np.float32), photometric="minisblack")
    assert "NaN" in refusal(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 8), np.int16), photometric="minisblack")
    assert "int16" in refusal(tmp_path / "b.tif")


def test_pages_are_refused_but_a_thumbnail_is_not_a_page(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[:20], photometric="rgb")
    assert "2 pages" in refusal(tmp_path / "two.tif")
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[::4, ::4], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "thumbnail.tif").bgr, BGR)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_animation_is_refused(tmp_path, suffix):
    frames = [PHOTO.rotate(90 * turn) for turn in range(3)]
    path = saved(tmp_path, f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    assert "animation of 3 frames" in refusal(path)


def test_camera_file_with_a_preview_behind_the_photograph_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    PHOTO.save(path, "MPO", save_all=True, append_images=[PHOTO.resize((20, 20))])
    assert Pillow.open(path).n_frames == 2
    assert read_image(path).bgr.shape == BGR.shape


def test_jpeg_with_data_of_the_camera_behind_it_is_read(tmp_path):
    path = saved(tmp_path, "a.jpg", PHOTO)
    whole = read_image(path).bgr
    path.write_bytes(path.read_bytes() + b"maker's note" * 100)
    np.testing.assert_array_equal(read_image(path).bgr, whole)


SAVED = {
    "a.jpg": {},
    "progressive.jpg": {"progressive": True},
    "a.png": {},
    "a.webp": {},
    "a.bmp": {},
    "a.tif": {},
    "lzw.tif": {"compression": "tiff_lzw"},
    "a.gif": {},
}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", SAVED)
def test_truncated_file_is_refused(tmp_path, name, share):
    path = saved(tmp_path, name, PHOTO, **SAVED[name])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refusal(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.gif"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_is_an_image_or_one_clear_line(tmp_path, name, data):
    path = saved(tmp_path, name, PHOTO, **SAVED[name])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        # Damage to the size in the header must not take the machine's memory with it.
        assert read_image(path, max_pixels=100_000).bgr.dtype == np.uint8
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_files_that_are_no_images_say_what_they_are(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("Dear diary,\n" * 100)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert "empty" in refusal(tmp_path / "empty.png")
    assert "not an image" in refusal(tmp_path / "text.jpg")
    assert "a folder, not an image" in refusal(tmp_path / "folder.png")
    assert os.strerror(errno.ELOOP) in refusal(tmp_path / "loop.png")
    assert "not a regular file" in refusal(tmp_path / "pipe.png")
    assert os.strerror(errno.ENOENT) in refusal(tmp_path / "missing.png")


def test_file_without_permission_says_so(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"secret")
    path.chmod(0)
    me = os.geteuid()
    if me == 0:  # root may read everything, so be nobody for a moment
        os.seteuid(65534)
    try:
        assert os.strerror(errno.EACCES) in refusal(path)
    finally:
        os.seteuid(me)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    # 65 000 x 65 000 pixels that were never there: the header alone must be enough.
    path = saved(tmp_path, "a.bmp", PHOTO)
    content = bytearray(path.read_bytes())
    content[18:26] = (65000).to_bytes(4, "little") * 2
    path.write_bytes(content)
    assert "65000 x 65000 is 4225 megapixels, limit 250" in refusal(path)
    for name in SAVED:
        limited = saved(tmp_path, name, PHOTO, **SAVED[name])
        assert "megapixels" in refusal(limited, max_pixels=53 * 37 - 1)
        read_image(limited, max_pixels=53 * 37)


def test_listing_is_sorted_takes_any_case_and_leaves_hidden_files(tmp_path):
    for name in ("b.PNG", "a.b.jpeg", "c.tif", ".hidden.png", "notes.txt", "._a.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "x.png").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.webp").touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.b.jpeg", "b.PNG", "c.tif", "x.png"]
    found = [str(path.relative_to(tmp_path)) for path in list_images(tmp_path, recursive=True)]
    assert found == ["a.b.jpeg", "b.PNG", "c.tif", "sub/d.webp"]


def test_listing_reports_a_link_loop_once(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").touch()
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    found = list_images(tmp_path, recursive=True)
    assert [str(path.relative_to(tmp_path)) for path in found] == ["sub/a.png", "sub/up"]
    assert "link back" in refusal(found[1])


def test_listing_follows_links_to_other_folders(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    assert list_images(tmp_path / "photos", recursive=True) == [tmp_path / "photos" / "linked" / "a.png"]


def test_listing_needs_a_folder(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        list_images(tmp_path / "missing")
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match="not a folder"):
        list_images(tmp_path / "a.png")


@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_written_photograph_comes_back(tmp_path, alpha):
    write_image(tmp_path / "写真 a.b.png", BGR, alpha)
    image = read_image(tmp_path / "写真 a.b.png")
    np.testing.assert_array_equal(image.bgr, BGR)
    assert (image.alpha is None) == (alpha is None) and (alpha is None or np.array_equal(image.alpha, alpha))


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (64, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_written_halftone_has_one_bit_per_pixel_and_comes_back(tmp_path, shape, dtype):
    bits = np.random.default_rng(1).random(shape) < 0.5
    halftone = bits if dtype is bool else bits.astype(np.uint8) * 255
    write_halftone(tmp_path / "a.png", halftone)
    depth, colour_type = (tmp_path / "a.png").read_bytes()[24:26]
    assert (depth, colour_type) == (1, 0)
    np.testing.assert_array_equal(read_halftone(tmp_path / "a.png"), bits * np.uint8(255))


def test_a_gray_picture_has_one_channel(tmp_path):
    write_image(tmp_path / "a.png", np.ascontiguousarray(BGR[..., 0]))
    assert (tmp_path / "a.png").read_bytes()[24:26] == bytes((8, 0))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").bgr[..., 2], BGR[..., 0])


def test_a_transparent_halftone_is_read_as_on_white_paper(tmp_path):
    bits = np.random.default_rng(2).random((16, 24)) < 0.5
    black = np.zeros((16, 24, 3), np.uint8)
    write_image(tmp_path / "a.png", black, alpha=np.where(bits, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(read_halftone(tmp_path / "a.png"), bits * np.uint8(255))


def test_writers_refuse_other_arrays(tmp_path):
    with pytest.raises(ValueError, match="0 and 255"):
        write_halftone(tmp_path / "a.png", np.ones((4, 4), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", BGR.astype(np.float32))
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", BGR[..., :2])
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", BGR[..., 0], alpha=BGR[..., 0])
    assert not list(tmp_path.iterdir())


def test_unwritable_place_is_named(tmp_path):
    with pytest.raises(UserError, match="missing/a.png: cannot be written: No such file"):
        write_image(tmp_path / "missing" / "a.png", BGR)
    with pytest.raises(UserError, match="a.xyz: cannot be encoded"):
        write_image(tmp_path / "a.xyz", BGR)


def test_full_disk_leaves_the_old_file_and_no_half_one(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    write_image(tmp_path / "a.png", BGR)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # files stop growing here, as on a full disk
    try:
        with pytest.raises(UserError, match="a.png: cannot be written"):
            write_image(tmp_path / "a.png", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").bgr, BGR)


def test_photograph_is_not_a_halftone_unless_forced(tmp_path):
    path = saved(tmp_path, "a.png", PHOTO)
    with pytest.raises(UserError, match=r"not a halftone: \d+% of the pixels"):
        read_halftone(path)
    forced = read_halftone(path, force=True)
    np.testing.assert_array_equal(forced, np.where(cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY) > 127, 255, 0))


def test_saturated_colours_are_not_a_halftone(tmp_path):
    with pytest.raises(UserError, match="100%"):
        read_halftone(saved(tmp_path, "a.png", Pillow.new("RGB", (20, 20), (255, 255, 0))))


def test_halftone_saved_as_jpeg_is_still_one(tmp_path):
    halftone = (np.random.default_rng(2).random((64, 64)) < 0.5) * np.uint8(255)
    path = saved(tmp_path, "a.jpg", Pillow.fromarray(halftone).convert("RGB"), quality=95, subsampling=0)
    np.testing.assert_array_equal(read_halftone(path), halftone)
