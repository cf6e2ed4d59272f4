"""Declared colours: ICC profiles, and cICP, gAMA and cHRM of PNG, become sRGB."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from images.files import read_image

RAMP = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
RAMP_BGR = np.repeat(RAMP[..., None], 3, axis=2)
LINEAR = struct.pack(">I", 100_000)
ADOBE = struct.pack(">8I", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
SRGB_PRIMARIES = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def srgb(light):
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def with_chunks(path, image, **chunks):
    """Write (H, W) or BGR (H, W, 3) as a PNG with more chunks after its header."""
    png = cv2.imencode(".png", image)[1].tobytes()
    more = b""
    for kind, content in chunks.items():
        body = kind.encode() + content
        more += struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(png[:33] + more + png[33:])
    return path


@pytest.mark.parametrize("image", [RAMP, RAMP_BGR], ids=["gray", "colour"])
@pytest.mark.parametrize("chunks", [{"gAMA": LINEAR}, {"cICP": bytes((1, 8, 0, 1))}], ids=["gAMA", "cICP"])
def test_linear_light_is_converted(tmp_path, image, chunks):
    found = read_image(with_chunks(tmp_path / "a.png", image, **chunks))
    assert np.abs(found.bgr[..., 1] - 255 * srgb(RAMP / 255)).max() <= 0.51 and not found.remarks


def test_linear_light_of_16_bits_is_converted_before_it_is_rounded(tmp_path):
    light = np.where(RAMP / 255 <= 0.04045, RAMP / 255 / 12.92, ((RAMP / 255 + 0.055) / 1.055) ** 2.4)
    path = with_chunks(tmp_path / "a.png", np.rint(65535 * light).astype(np.uint16), gAMA=LINEAR)
    np.testing.assert_array_equal(read_image(path).bgr, RAMP_BGR)


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": struct.pack(">I", 45455)},
        {"gAMA": struct.pack(">I", 45455), "cHRM": SRGB_PRIMARIES},
        {"cICP": bytes((1, 13, 0, 1))},
        {"sRGB": b"\0", "gAMA": LINEAR},
        {"cICP": bytes((1, 13, 0, 1)), "gAMA": LINEAR, "cHRM": ADOBE},
    ],
)
def test_srgb_is_unchanged_whatever_else_is_declared_beside_it(tmp_path, chunks):
    bgr = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    found = read_image(with_chunks(tmp_path / "a.png", bgr, **chunks))
    np.testing.assert_array_equal(found.bgr, bgr)
    assert not found.remarks


@pytest.mark.parametrize(
    ("chunks", "rgb", "expected"),
    [
        # The sRGB primaries in Display P3, and the green of Adobe RGB (gamma 2.2) that is sRGB's.
        ({"cICP": bytes((12, 13, 0, 1))}, (234, 51, 35), (255, 0, 0)),
        ({"cICP": bytes((12, 13, 0, 1))}, (117, 251, 76), (0, 255, 0)),
        ({"cICP": bytes((12, 13, 0, 1))}, (128, 128, 128), (128, 128, 128)),
        ({"gAMA": struct.pack(">I", 45455), "cHRM": ADOBE}, (219, 0, 0), (255, 0, 0)),
        ({"cHRM": SRGB_PRIMARIES, "gAMA": LINEAR}, (255, 55, 0), (255, 128, 0)),
    ],
)
def test_primaries_are_converted(tmp_path, chunks, rgb, expected):
    bgr = np.full((3, 5, 3), rgb[::-1], np.uint8)
    found = read_image(with_chunks(tmp_path / "a.png", bgr, **chunks)).bgr[0, 0, ::-1]
    assert np.abs(found.astype(int) - expected).max() <= 3


@pytest.mark.parametrize(
    ("chunks", "name"),
    [
        ({"cICP": bytes((9, 16, 0, 1))}, "PQ"),
        ({"cICP": bytes((9, 18, 0, 1))}, "HLG"),
        ({"cICP": bytes((1, 13, 0, 0))}, "1/13/0/0"),
        ({"gAMA": LINEAR, "cHRM": bytes(32)}, "cHRM"),
    ],
)
def test_an_unsupported_declaration_is_named_and_the_pixels_are_read_as_srgb(tmp_path, chunks, name):
    found = read_image(with_chunks(tmp_path / "a.png", RAMP_BGR, **chunks))
    np.testing.assert_array_equal(found.bgr, RAMP_BGR)
    assert len(found.remarks) == 1 and name in found.remarks[0] and "not supported" in found.remarks[0]


@pytest.mark.parametrize("tags", [{0x8769: {0xA001: 2}}, {0x8769: {0xA001: 65535, 0xA005: {1: "R03"}}}])
def test_adobe_rgb_of_cameras_is_converted(tmp_path, tags):
    exif = Pillow.Exif()
    exif.update(tags)
    Pillow.new("RGB", (16, 16), (219, 0, 0)).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    assert np.abs(read_image(tmp_path / "a.jpg").bgr[0, 0].astype(int) - (0, 0, 255)).max() <= 4
    Pillow.new("RGB", (16, 16), (219, 0, 0)).save(tmp_path / "b.jpg", quality=100, subsampling=0)
    assert np.abs(read_image(tmp_path / "b.jpg").bgr[0, 0].astype(int) - (0, 0, 219)).max() <= 4


def gray_profile(gamma: float) -> bytes:
    """A gray ICC profile of version 2 with a gamma curve."""
    tags = {
        b"desc": b"desc\0\0\0\0\0\0\0\5gray\0" + bytes(78),
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", round(gamma * 256)) + bytes(2),
    }
    table, body, offset = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    white = struct.pack(">3i", 63190, 65536, 54061)
    rest = bytes(4) + b"\2\x40\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28) + white + bytes(48)
    content = rest + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(content) + 4) + content


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "alpha.png"])
def test_a_gray_profile_is_converted(tmp_path, name):
    image = Pillow.fromarray(RAMP)
    if name == "alpha.png":
        image.putalpha(200)
    image.save(tmp_path / name, icc_profile=gray_profile(1.0), quality=100)
    found = read_image(tmp_path / name)
    assert np.abs(found.bgr[..., 0] - 255 * srgb(RAMP / 255))[:, 3:].max() <= 3 and not found.remarks


def test_an_rgb_profile_of_a_gray_image_is_converted(tmp_path):
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Pillow.fromarray(RAMP).save(tmp_path / "a.png", icc_profile=linear)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").bgr, RAMP_BGR)


@pytest.mark.parametrize("profile", [gray_profile(1.0)[:150], b"no profile"])
def test_a_damaged_profile_is_named(tmp_path, profile):
    Pillow.fromarray(RAMP).save(tmp_path / "a.png", icc_profile=profile)
    found = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(found.bgr, RAMP_BGR)
    assert found.remarks == ("its damaged colour profile is not supported; the pixels were read as sRGB",)


def test_a_profile_is_used_where_cicp_is_not_supported(tmp_path):
    Pillow.fromarray(RAMP).save(tmp_path / "a.png", icc_profile=gray_profile(1.0))
    png = (tmp_path / "a.png").read_bytes()
    body = b"cICP" + bytes((9, 16, 0, 1))
    (tmp_path / "b.png").write_bytes(
        png[:33] + struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body)) + png[33:]
    )
    found = read_image(tmp_path / "b.png")
    np.testing.assert_array_equal(found.bgr, read_image(tmp_path / "a.png").bgr)
    assert not found.remarks
