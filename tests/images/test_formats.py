"""Formats, transparency and resolution of written and read files, and the reasons why others are refused."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from PIL import PngImagePlugin

from images.files import read_halftone, read_image, read_levels, write_halftone, write_image, write_indexed
from images.transparency import off_background, on_background
from utils.errors import UserError

RGB = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (21, 34, 3), np.uint8), (0, 0), 2)
BGR = np.ascontiguousarray(RGB[..., ::-1])
GRAY = RGB[..., 0].copy()
DOTS = np.where(np.random.default_rng(1).random((21, 34)) < 0.5, 0, 255).astype(np.uint8)


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_image(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.pbm", "a.tif", "a.TIFF"])
def test_a_halftone_is_written_with_one_bit_per_pixel(tmp_path, name):
    write_halftone(tmp_path / name, DOTS, (300.0, 150.0))
    with Pillow.open(tmp_path / name) as image:
        assert image.mode == "1"
        assert image.format != "TIFF" or image.info["compression"] == "group4"
        assert image.format == "PPM" or image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    np.testing.assert_array_equal(read_halftone(tmp_path / name), DOTS)
    assert read_levels(tmp_path / name).resolution == (None if name == "a.pbm" else pytest.approx((300, 150), abs=0.02))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
@pytest.mark.parametrize("image", [BGR, GRAY], ids=["colour", "gray"])
def test_photographs_keep_their_resolution_or_have_none(tmp_path, name, image):
    write_image(tmp_path / name, image, resolution=(72.0, 1200.0))
    found = read_image(tmp_path / name)
    np.testing.assert_array_equal(found.bgr, image if image.ndim == 3 else np.dstack([image] * 3))
    assert found.resolution == pytest.approx((72, 1200), abs=0.02)
    write_image(tmp_path / name, image)
    assert read_image(tmp_path / name).resolution is None


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
@pytest.mark.parametrize("count", [2, 3, 16, 256])
def test_an_indexed_file_keeps_the_palette_and_its_order(tmp_path, name, count):
    palette = np.random.default_rng(2).integers(0, 256, (count, 3), np.uint8)
    indices = np.arange(21 * 34).reshape(21, 34) % count
    indices = indices.astype(np.uint8)
    write_indexed(tmp_path / name, indices, palette, (100.0, 100.0))
    with Pillow.open(tmp_path / name) as image:
        assert image.mode == "P" and image.getpalette()[: 3 * count] == palette[:, ::-1].ravel().tolist()
        np.testing.assert_array_equal(np.asarray(image), indices)
    np.testing.assert_array_equal(read_image(tmp_path / name).bgr, palette[indices])


def test_a_suffix_that_cannot_hold_the_image_is_refused(tmp_path):
    with pytest.raises(UserError, match="a.jpg: cannot be encoded: a halftone is written as .png"):
        write_halftone(tmp_path / "a.jpg", DOTS)
    with pytest.raises(UserError, match="a.pbm: cannot be encoded"):
        write_indexed(tmp_path / "a.pbm", DOTS, np.zeros((256, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.ppm", "a.pnm", "a.qoi", "a.sgi", "a.tga", "a.pcx"])
def test_other_lossless_formats_are_read(tmp_path, name):
    Pillow.init()
    if name == "a.qoi" and "QOI" not in Pillow.SAVE:
        pytest.skip("this Pillow reads QOI but does not write it")
    Pillow.fromarray(RGB).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name).bgr, BGR)


def test_every_kind_of_the_pnm_family_is_read(tmp_path):
    height, width = GRAY.shape
    bits = DOTS == 0
    gray_alpha = np.dstack([GRAY, DOTS])
    pam = "P7\nWIDTH {}\nHEIGHT {}\nDEPTH {}\nMAXVAL {}\nTUPLTYPE X\nENDHDR\n".format
    kinds = {
        "p1.pbm": (
            f"P1\n# a comment\n{width} {height}\n",
            "\n".join(" ".join(map(str, row)) for row in bits * 1).encode(),
            DOTS,
        ),
        "p2.pgm": (f"P2 {width} {height} 255\n", " ".join(map(str, GRAY.ravel())).encode(), GRAY),
        "p3.ppm": (f"P3 {width} {height} 255\n", " ".join(map(str, RGB.ravel())).encode(), BGR),
        "p4.pbm": (f"P4 {width} {height}\n", np.packbits(bits, axis=1).tobytes(), DOTS),
        "p5.pgm": (f"P5 {width} {height} 255\n", GRAY.tobytes(), GRAY),
        "deep.pgm": (f"P5 {width} {height} 65535\n", (GRAY.astype(">u2") * 257).tobytes(), GRAY),
        "p6.ppm": (f"P6 {width} {height} 255\n", RGB.tobytes(), BGR),
        "deep.ppm": (f"P6 {width} {height} 65535\n", (RGB.astype(">u2") * 257).tobytes(), BGR),
        "rgb.pam": (pam(width, height, 3, 255), RGB.tobytes(), BGR),
        "deep.pam": (pam(width, height, 3, 65535), (RGB.astype(">u2") * 257).tobytes(), BGR),
        "bits.pam": (pam(width, height, 1, 1), (DOTS // 255).tobytes(), DOTS),
        "alpha.pam": (pam(width, height, 2, 255), gray_alpha.tobytes(), GRAY),
        "colour.pfm": (f"PF\n{width} {height}\n-1.0\n", (RGB[::-1] / 255).astype("<f4").tobytes(), BGR),
        "gray.pfm": (f"Pf\n{width} {height}\n1.0\n", (GRAY[::-1] / 255).astype(">f4").tobytes(), GRAY),
    }
    for name, (header, body, expected) in kinds.items():
        (tmp_path / name).write_bytes(header.encode() + body)
        found = read_image(tmp_path / name)
        expected = expected if expected.ndim == 3 else np.dstack([expected] * 3)
        np.testing.assert_array_equal(found.bgr, expected, err_msg=name)
        (tmp_path / name).write_bytes((header.encode() + body)[: -len(body) // 2])
        assert "truncated or damaged" in refusal(tmp_path / name), name
        (tmp_path / name).write_bytes(
            header.encode().replace(str(width).encode(), b"99999", 1)[:60].replace(str(height).encode(), b"99999", 1)
        )
        refusal(tmp_path / name)


def png(array, depth, colour_type, **chunks):
    """A PNG of (H, bytes) rows as they are, width in pixels by depth and colour type, with more chunks."""
    channels = {0: 1, 2: 3}[colour_type]
    rows = np.ascontiguousarray(array).view(np.uint8).reshape(len(array), -1)
    width = rows.shape[1] * 8 // (depth * channels)
    contents = {"IHDR": struct.pack(">IIBBBBB", width, len(array), depth, colour_type, 0, 0, 0), **chunks}
    contents |= {"IDAT": zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)), "IEND": b""}
    parts = [
        struct.pack(">I", len(c)) + k.encode() + c + struct.pack(">I", zlib.crc32(k.encode() + c))
        for k, c in contents.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_transparent_colour_of_any_depth_becomes_alpha(tmp_path):
    marked = np.where(DOTS[:, :32] == 0, 0, 85).astype(np.uint8)
    deep = marked.astype(">u2") * 257
    files = {
        "gray8": png(marked, 8, 0, tRNS=b"\0\0"),
        "gray16": png(deep, 16, 0, tRNS=b"\0\0"),
        "gray2": png(
            np.packbits(np.unpackbits(marked // 85 * 64).reshape(21, 32, 8)[..., :2].reshape(21, 64), axis=1),
            2,
            0,
            tRNS=b"\0\0",
        ),
        "rgb8": png(np.dstack([marked] * 3), 8, 2, tRNS=bytes(6)),
        "rgb16": png(np.dstack([deep] * 3), 16, 2, tRNS=bytes(6)),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        found = read_image(tmp_path / name)
        np.testing.assert_array_equal(found.alpha, np.where(marked == 0, 0, 255), err_msg=name)
        np.testing.assert_array_equal(found.bgr[..., 1], marked, err_msg=name)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_of_a_tiff_that_are_multiplied_by_alpha_are_divided(tmp_path, dtype, channels):
    alpha = np.tile(np.array([0, 64, 128, 255], np.float64), (8, 2))[..., None] / 255
    stored = np.concatenate([np.full((8, 8, channels), 200 / 255) * alpha, alpha], axis=2) * np.iinfo(dtype).max
    photometric = "rgb" if channels == 3 else "minisblack"
    options = {"photometric": photometric, "extrasamples": ["assocalpha"], "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "a.tif", stored.round().astype(dtype), **options)
    found = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.alpha, (alpha[..., 0] * 255).round())
    assert np.abs(found.bgr[found.alpha > 0].astype(int) - 200).max() <= 2


def test_a_background_is_put_behind_and_taken_away_again():
    alpha = np.arange(21 * 34).reshape(21, 34).astype(np.uint8)
    for background in ((255, 255, 255), (0, 0, 0), (10, 200, 90)):
        shown = on_background(BGR, alpha, background)
        assert (shown[alpha == 0] == background).all() and np.array_equal(shown[alpha == 255], BGR[alpha == 255])
        again = on_background(off_background(shown, alpha, background), alpha, background)
        assert np.abs(again.astype(int) - shown).max() <= 1
    assert on_background(BGR, None) is BGR and off_background(BGR, None) is BGR


def test_jpeg_exif_and_tiff_resolutions_are_read_in_pixels_per_inch(tmp_path):
    image, exif = Pillow.fromarray(RGB), Pillow.Exif()
    exif.update({282: 118.11, 283: 59.055, 296: 3})
    image.save(tmp_path / "jfif.jpg", dpi=(300, 150))
    image.save(tmp_path / "none.jpg")
    image.save(tmp_path / "exif.jpg", exif=exif)
    image.save(tmp_path / "exif.webp", exif=exif)
    image.save(tmp_path / "exif.png", exif=exif)
    tifffile.imwrite(tmp_path / "cm.tif", RGB, photometric="rgb", resolution=(118.11, 59.055), resolutionunit=3)
    tifffile.imwrite(tmp_path / "ratio.tif", RGB, photometric="rgb", resolution=(2, 1), resolutionunit=1)
    for name in ("jfif.jpg", "exif.jpg", "exif.webp", "exif.png", "cm.tif"):
        assert read_image(tmp_path / name).resolution == pytest.approx((300, 150), abs=0.02), name
    assert read_image(tmp_path / "none.jpg").resolution is read_image(tmp_path / "ratio.tif").resolution is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turn_exchanges_the_resolutions(tmp_path, suffix, orientation):
    exif = Pillow.Exif()
    exif.update({274: orientation, 282: 300.0, 283: 150.0, 296: 2})
    Pillow.fromarray(RGB).save(tmp_path / f"a.{suffix}", exif=exif, dpi=(300, 150))
    expected = (150, 300) if orientation > 4 else (300, 150)
    assert read_image(tmp_path / f"a.{suffix}").resolution == pytest.approx(expected, abs=0.02)


def test_large_text_in_a_png_is_ignored(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * 3_000_000)
    info.add_itxt("workflow", "y" * 3_000_000)
    info.add_text("zipped", "z" * 80_000_000, zip=True)
    info.add(b"caBX", bytes(9_000_000))
    Pillow.fromarray(RGB).save(tmp_path / "a.png", pnginfo=info)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").bgr, BGR)


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (4, 12, "JPEG of 12 bits is not supported"),
        (1, 0xC3, "lossless JPEG"),
        (1, 0xC5, "hierarchical JPEG"),
        (1, 0xF7, "JPEG-LS"),
    ],
)
def test_kinds_of_jpeg_that_are_not_supported_are_named(tmp_path, position, value, reason):
    Pillow.fromarray(RGB).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    content[content.find(b"\xff\xc0") + position] = value
    (tmp_path / "a.jpg").write_bytes(content)
    assert reason in (line := refusal(tmp_path / "a.jpg")) and "damaged" not in line


def unsupported_tiff(path, compression, planar, bits=16):
    """A TIFF whose header declares `compression`, with the pixels as they are."""
    array = np.moveaxis(RGB, 2, 0) if planar == "separate" else RGB
    array = array.astype(np.uint16) * 257 if bits == 16 else array
    tifffile.imwrite(path, array, photometric="rgb", planarconfig=planar)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["Compression"].overwrite(compression)


@pytest.mark.parametrize("compression", ["LZW", "JPEG2000", "ZSTD", "WEBP"])
@pytest.mark.parametrize("planar", ["separate", "contig"])
@pytest.mark.parametrize("bits", [8, 16])
def test_kinds_of_tiff_that_are_not_supported_are_named(tmp_path, compression, planar, bits):
    if compression == "LZW" and (planar, bits) != ("separate", 16):
        return  # supported; the pixels of this file are damaged
    unsupported_tiff(
        tmp_path / "a.tif",
        tifffile.COMPRESSION[compression if compression != "JPEG2000" else "APERIO_JP2000_RGB"],
        planar,
        bits,
    )
    line = refusal(tmp_path / "a.tif")
    assert "not supported" in line or bits == 8 and compression in ("ZSTD", "WEBP")
    if bits == 16 and compression == "LZW":
        assert "planar 16-bit RGB pixels with LZW compression" in line and "damaged" not in line
