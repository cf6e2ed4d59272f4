"""Listing of the images of a folder, by ending and by content."""

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from images.files import read_image
from images.listing import list_images, survey
from utils.errors import UserError


def test_listing_is_sorted_ignores_case_and_skips_hidden_files(tmp_path):
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
    with pytest.raises(UserError, match="link back"):
        read_image(found[1])


def test_listing_follows_links_to_other_folders(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "linked").symlink_to(tmp_path / "elsewhere")
    assert list_images(tmp_path / "photos", recursive=True) == [tmp_path / "photos" / "linked" / "a.png"]


def test_listing_of_a_missing_folder_is_refused_and_a_file_is_its_own_list(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        list_images(tmp_path / "missing")
    with pytest.raises(UserError, match="missing.JPG: no such file"):
        list_images(tmp_path / "missing.JPG")
    (tmp_path / "a.data").touch()
    assert list_images(tmp_path / "a.data") == [tmp_path / "a.data"]


def test_images_are_recognized_by_content_and_the_others_are_counted(tmp_path):
    image = Pillow.fromarray(np.zeros((5, 7, 3), np.uint8))
    formats = {
        "JPEG": "photo.jpg_large",
        "PNG": "picture",
        "WEBP": "w.data",
        "TIFF": "t.scan",
        "GIF": "g.1",
        "BMP": "b",
    }
    for kind, name in {**formats, "PPM": "p.img", "JPEG2000": "a.bin"}.items():
        image.save(tmp_path / name, kind)
    for name, text in {"notes.txt": "P6 is a format", "BMW.txt": "BMW", "empty": "", "list.csv": "1,2"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".hidden").write_text("not counted")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/more.txt").write_text("counted with its folder")
    found = survey(tmp_path)
    assert [path.name for path in found.images] == [
        "a.bin",
        "b",
        "g.1",
        "p.img",
        "photo.jpg_large",
        "picture",
        "t.scan",
        "w.data",
    ]
    assert found.ignored == 4 and survey(tmp_path, recursive=True).ignored == 5
    assert all(read_image(path).bgr.shape == (5, 7, 3) for path in found.images)


def test_results_inside_the_folder_are_not_listed(tmp_path):
    (tmp_path / "out/halftone").mkdir(parents=True)
    for name in ("a.png", "out/manifest.jsonl", "out/halftone/a.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((3, 3), np.uint8)) if name.endswith("png") else (
            tmp_path / name
        ).touch()
    assert survey(tmp_path, True, (tmp_path / "out").resolve()) == ([tmp_path / "a.png"], 0)
