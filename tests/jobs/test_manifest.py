"""The manifest says what is done, and nothing else."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.manifest import Manifest, digest
from utils.errors import UserError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "halftone").mkdir()
    (tmp_path / "halftone/x.png").write_bytes(b"12345")
    return tmp_path


def finished(folder, made_by=None):
    manifest = Manifest(folder, made_by or {"seed": 0})
    manifest.add("x.png", "abc", [folder / "halftone/x.png"])
    return manifest


def test_what_was_added_is_covered_in_the_next_run(folder):
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "abc")
    finished(folder)
    assert Manifest(folder, {"seed": 0}).covers("x.png", "abc")


def test_another_input_another_maker_and_another_output_are_not_covered(folder):
    finished(folder)
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "other")
    assert not Manifest(folder, {"seed": 0}).covers("y.png", "abc")
    assert not Manifest(folder, {"seed": 1}).covers("x.png", "abc")
    (folder / "halftone/x.png").write_bytes(b"123")
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "abc")
    (folder / "halftone/x.png").unlink()
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "abc")


def test_the_last_line_of_a_name_counts(folder):
    finished(folder, {"seed": 0})
    finished(folder, {"seed": 1})
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "abc")
    assert Manifest(folder, {"seed": 1}).covers("x.png", "abc")


@pytest.mark.parametrize("torn", ['{"name": "x.png", "inp', "3", "[]", '{"name": []}', '{"name": "x.png"}', "\x00\xff"])
def test_a_torn_line_hides_neither_the_lines_before_nor_after_it(folder, torn):
    finished(folder)
    with open(folder / "manifest.jsonl", "a") as file:
        file.write(torn)
    (folder / "halftone/y.png").write_bytes(b"1")
    manifest = Manifest(folder, {"seed": 0})
    assert manifest.covers("x.png", "abc") != ('"x.png"}' in torn)
    manifest.add("y.png", "def", [folder / "halftone/y.png"])
    assert Manifest(folder, {"seed": 0}).covers("y.png", "def")
    assert json.loads((folder / "manifest.jsonl").read_text().splitlines()[-1])["name"] == "y.png"


def test_a_manifest_that_cannot_be_read_or_written_is_named(folder):
    (folder / "manifest.jsonl").mkdir()
    with pytest.raises(UserError, match="manifest.jsonl: cannot be read"):
        Manifest(folder, {})
    (folder / "manifest.jsonl").rmdir()
    manifest = Manifest(folder, {})
    (folder / "manifest.jsonl").mkdir()
    with pytest.raises(UserError, match="manifest.jsonl: cannot be written"):
        manifest.add("x.png", "abc", [folder / "halftone/x.png"])


def test_a_file_that_cannot_be_read_has_no_digest(folder):
    assert digest(folder / "missing") == digest(folder) == ""
    assert len(digest(folder / "halftone/x.png")) == 64


def test_several_writers_leave_every_line_whole(folder):
    def write(maker):
        manifest = Manifest(folder, {"seed": 0})
        for index in range(50):
            manifest.add(f"{maker}{index}" + "x" * 9000, "abc", [folder / "halftone/x.png"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    assert len({json.loads(line)["name"] for line in lines}) == len(lines) == 200


def test_a_line_torn_by_another_writer_hides_no_later_one(folder):
    manifest = finished(folder)
    with open(folder / "manifest.jsonl", "a") as file:
        file.write('{"name": "y.png", "inp')
    manifest.add("z.png", "def", [folder / "halftone/x.png"])
    assert Manifest(folder, {"seed": 0}).covers("z.png", "def")
