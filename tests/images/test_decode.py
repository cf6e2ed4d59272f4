"""Decoding of image files: supported formats, and one-line errors for invalid files."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps

from images.files import read_image
from utils.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # pytest resets the filter of images.decode

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
def test_lossless_files_are_read_exactly(tmp_path, name, options):
    image = read_image(saved(tmp_path, name, PHOTO, **options))
    np.testing.assert_array_equal(image.bgr, BGR)
    assert image.alpha is None


@pytest.mark.parametrize("options", [{"quality": 95}, {"quality": 60}, {"progressive": True}])
def test_jpeg_pixels_equal_those_of_pillow(tmp_path, options):
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


def test_exif_orientation_of_alpha_is_undone(tmp_path):
    exif = Pillow.Exif()
    exif[274] = 6
    image = read_image(saved(tmp_path, "a.png", RGBA, exif=exif))
    np.testing.assert_array_equal(image.alpha, np.rot90(ALPHA, -1))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_separate_and_colours_are_not_premultiplied(tmp_path, suffix):
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    image = read_image(saved(tmp_path, f"a.{suffix}", RGBA, **options))
    np.testing.assert_array_equal(image.bgr, BGR)
    np.testing.assert_array_equal(image.alpha, ALPHA)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_gray_with_alpha_is_read(tmp_path, suffix):
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
def test_cmyk_is_converted_back_to_its_rgb_colours(tmp_path, suffix):
    image = read_image(saved(tmp_path, f"a.{suffix}", PHOTO.convert("CMYK"), quality=100))
    assert np.abs(image.bgr.astype(int) - BGR).mean() < 3


def test_an_rgb_profile_is_converted_to_srgb_and_an_srgb_profile_changes_nothing(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A profile with swapped red and blue primaries.
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


def test_deep_tiff_with_a_codec_only_opencv_supports_is_read(tmp_path):
    deep = Pillow.fromarray(np.asarray(GRAY).astype(np.uint16) * 257)
    image = read_image(saved(tmp_path, "a.tif", deep, compression="tiff_lzw"))
    np.testing.assert_array_equal(image.bgr, GRAY_BGR)


def test_orientation_and_white_is_zero_of_deep_tiff_are_applied(tmp_path):
    deep = np.asarray(GRAY).astype(np.uint16) * 257
    turned = [(274, "H", 1, 6, True)]
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="miniswhite", extratags=turned)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").bgr, 255 - np.rot90(GRAY_BGR, -1))


def refusal(path: Path, **options) -> str:
    """Return the error line of a file that must be refused."""
    with pytest.raises(UserError) as caught:
        read_image(path, **options)
    line = str(caught.value)
    assert str(path) in line and "\n" not in line
    return line


def test_float_tiff_with_values_above_one_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB.astype(np.float32), photometric="rgb")
    assert "white must be 1.0" in refusal(tmp_path / "a.tif")


def test_nan_and_signed_pixels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8), np.nan, np.float32), photometric="minisblack")
    assert "NaN" in refusal(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((8, 8), np.int16), photometric="minisblack")
    assert "int16" in refusal(tmp_path / "b.tif")


def test_several_pages_are_refused_and_a_thumbnail_is_no_page(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[:20], photometric="rgb")
    assert "2 pages" in refusal(tmp_path / "two.tif")
    with tifffile.TiffWriter(tmp_path / "thumbnail.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[::4, ::4], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "thumbnail.tif").bgr, BGR)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_an_animation_is_refused(tmp_path, suffix):
    frames = [PHOTO.rotate(90 * turn) for turn in range(3)]
    path = saved(tmp_path, f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:])
    assert "animation of 3 frames" in refusal(path)


def test_a_camera_file_with_a_preview_after_the_photograph_is_read(tmp_path):
    path = tmp_path / "a.jpg"
    PHOTO.save(path, "MPO", save_all=True, append_images=[PHOTO.resize((20, 20))])
    assert Pillow.open(path).n_frames == 2
    assert read_image(path).bgr.shape == BGR.shape


def test_a_jpeg_with_appended_camera_data_is_read(tmp_path):
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
def test_a_truncated_file_is_refused(tmp_path, name, share):
    path = saved(tmp_path, name, PHOTO, **SAVED[name])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refusal(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.gif"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_gives_an_image_or_a_one_line_error(tmp_path, name, data):
    path = saved(tmp_path, name, PHOTO, **SAVED[name])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        # A damaged size in the header must not exhaust the memory.
        assert read_image(path, max_pixels=100_000).bgr.dtype == np.uint8
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    # The header declares 65 000 x 65 000 pixels that the file does not contain.
    path = saved(tmp_path, "a.bmp", PHOTO)
    content = bytearray(path.read_bytes())
    content[18:26] = (65000).to_bytes(4, "little") * 2
    path.write_bytes(content)
    assert "65000 x 65000 is 4225 megapixels, limit 250" in refusal(path)
    for name in SAVED:
        limited = saved(tmp_path, name, PHOTO, **SAVED[name])
        assert "megapixels" in refusal(limited, max_pixels=53 * 37 - 1)
        read_image(limited, max_pixels=53 * 37)
