"""Photo lists: file names, checksums, and errors that name the list or the photo."""

import json

import pytest

from dataset.photo_list import read_photo_list, write_photo_list
from utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("b.png", "a.webp", "unlisted.png"):
        (photos / name).write_bytes(name.encode())
    return photos


def test_a_list_is_read_in_the_order_it_was_written(tmp_path, folder):
    listed = [folder / "b.png", folder / "a.webp"]
    write_photo_list(tmp_path / "list.json", listed)
    assert read_photo_list(tmp_path / "list.json", folder) == listed


def test_the_checksum_is_sha256(tmp_path, folder):
    write_photo_list(tmp_path / "list.json", [folder / "b.png"])
    entry = json.loads((tmp_path / "list.json").read_text())["images"][0]
    assert entry == {"name": "b.png", "sha256": "5f59d8e87a6efbf43f23410175de477396d74daf9ade43b442ca02fc5413ad1d"}


def test_a_changed_photo_is_named(tmp_path, folder):
    write_photo_list(tmp_path / "list.json", [folder / "b.png"])
    (folder / "b.png").write_bytes(b"another picture")
    with pytest.raises(UserError, match=r"b\.png.*SHA-256 differs"):
        read_photo_list(tmp_path / "list.json", folder)


def test_a_missing_photo_is_named(tmp_path, folder):
    write_photo_list(tmp_path / "list.json", [folder / "b.png"])
    (folder / "b.png").unlink()
    with pytest.raises(UserError, match=r"b\.png: listed in .*list\.json but not there"):
        read_photo_list(tmp_path / "list.json", folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not a list"),
        ("[]", "not a list"),
        ('{"images": [{"name": "b.png"}]}', "not a list"),
        ('{"images": []}', "empty"),
        ('{"images": [{"name": "../b.png", "sha256": ""}]}', "plain file name"),
        ('{"images": [{"name": "", "sha256": ""}]}', "not there"),
    ],
)
def test_a_malformed_list_is_named(tmp_path, folder, text, reason):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(UserError, match=rf"list\.json.*{reason}"):
        read_photo_list(tmp_path / "list.json", folder)


def test_a_missing_list_is_named(tmp_path, folder):
    with pytest.raises(UserError, match=r"none\.json: cannot read"):
        read_photo_list(tmp_path / "none.json", folder)
