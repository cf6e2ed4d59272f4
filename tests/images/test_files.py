"""Listing, reading and writing of image files, and recognition of halftones."""

import errno
import os
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from images.files import read_halftone, read_image, write_halftone, write_image
from utils.errors import UserError

BGR = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8), (0, 0), 2)
ALPHA = np.arange(37 * 53, dtype=np.uint16).reshape(37, 53).astype(np.uint8)


def refusal(path: Path) -> str:
    """Return the error line of a file that must be refused."""
    with pytest.raises(UserError) as caught:
        read_image(path)
    line = str(caught.value)
    assert str(path) in line and "\n" not in line
    return line


def test_a_path_that_is_no_image_is_refused_with_its_kind(tmp_path):
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


def test_a_file_without_permission_is_refused_as_such(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"secret")
    path.chmod(0)
    me = os.geteuid()
    if me == 0:  # root may read every file, so switch to user nobody
        os.seteuid(65534)
    try:
        assert os.strerror(errno.EACCES) in refusal(path)
    finally:
        os.seteuid(me)


@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_a_written_photograph_is_read_back_unchanged(tmp_path, alpha):
    write_image(tmp_path / "写真 a.b.png", BGR, alpha)
    image = read_image(tmp_path / "写真 a.b.png")
    np.testing.assert_array_equal(image.bgr, BGR)
    assert (image.alpha is None) == (alpha is None) and (alpha is None or np.array_equal(image.alpha, alpha))


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (64, 64)])
@pytest.mark.parametrize("dtype", [np.uint8, bool])
def test_a_written_halftone_has_one_bit_per_pixel_and_is_read_back_unchanged(tmp_path, shape, dtype):
    bits = np.random.default_rng(1).random(shape) < 0.5
    halftone = bits if dtype is bool else bits.astype(np.uint8) * 255
    write_halftone(tmp_path / "a.png", halftone)
    depth, colour_type = (tmp_path / "a.png").read_bytes()[24:26]
    assert (depth, colour_type) == (1, 0)
    np.testing.assert_array_equal(read_halftone(tmp_path / "a.png"), bits * np.uint8(255))


def test_a_gray_image_is_written_with_one_channel(tmp_path):
    write_image(tmp_path / "a.png", np.ascontiguousarray(BGR[..., 0]))
    assert (tmp_path / "a.png").read_bytes()[24:26] == bytes((8, 0))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").bgr[..., 2], BGR[..., 0])


def test_transparent_pixels_of_a_halftone_are_white(tmp_path):
    bits = np.random.default_rng(2).random((16, 24)) < 0.5
    black = np.zeros((16, 24, 3), np.uint8)
    write_image(tmp_path / "a.png", black, alpha=np.where(bits, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(read_halftone(tmp_path / "a.png"), bits * np.uint8(255))


def test_writers_refuse_arrays_of_wrong_dtype_shape_or_range(tmp_path):
    with pytest.raises(ValueError, match="0 and 255"):
        write_halftone(tmp_path / "a.png", np.ones((4, 4), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", BGR.astype(np.float32))
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", BGR[..., :2])
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", BGR[..., 0], alpha=BGR[..., 0])
    assert not list(tmp_path.iterdir())


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UserError, match="missing/a.png: cannot be written: No such file"):
        write_image(tmp_path / "missing" / "a.png", BGR)
    with pytest.raises(UserError, match="a.xyz: cannot be encoded"):
        write_image(tmp_path / "a.xyz", BGR)


def test_a_full_disk_leaves_the_old_file_and_no_partial_one(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)
    write_image(tmp_path / "a.png", BGR)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # limits the file size, as a full disk does
    try:
        with pytest.raises(UserError, match="a.png: cannot be written"):
            write_image(tmp_path / "a.png", noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").bgr, BGR)


def test_a_photograph_is_refused_as_a_halftone_unless_forced(tmp_path):
    path = tmp_path / "a.png"
    write_image(path, BGR)
    with pytest.raises(UserError, match=r"not a halftone: \d+% of the pixels"):
        read_halftone(path)
    forced = read_halftone(path, force=True)
    np.testing.assert_array_equal(forced, np.where(cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY) > 127, 255, 0))


def test_saturated_colours_are_refused_as_a_halftone(tmp_path):
    write_image(tmp_path / "a.png", np.full((20, 20, 3), (0, 255, 255), np.uint8))
    with pytest.raises(UserError, match="100%"):
        read_halftone(tmp_path / "a.png")


def test_a_halftone_saved_as_jpeg_is_accepted(tmp_path):
    halftone = (np.random.default_rng(2).random((64, 64)) < 0.5) * np.uint8(255)
    Pillow.fromarray(halftone).convert("RGB").save(tmp_path / "a.jpg", quality=95, subsampling=0)
    np.testing.assert_array_equal(read_halftone(tmp_path / "a.jpg"), halftone)
