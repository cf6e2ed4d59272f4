"""The manifest records finished inputs and their results."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.manifest import FileResult, Manifest
from utils.errors import UserError

RESULT = FileResult([20, 30], 1.5, {"psnr": 30.25}, "a note")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "halftone").mkdir()
    (tmp_path / "halftone/x.png").write_bytes(b"12345")
    return tmp_path


def finished(folder, made_by=None, result=RESULT):
    manifest = Manifest(folder, made_by or {"seed": 0})
    manifest.add("x.png", "abc", [folder / "halftone/x.png"], result)
    return manifest


def test_a_finished_input_is_covered_in_the_next_run(folder):
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "abc")
    finished(folder)
    assert Manifest(folder, {"seed": 0}).covers("x.png", "abc")


def test_other_inputs_settings_and_outputs_are_not_covered(folder):
    finished(folder)
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "other")
    assert not Manifest(folder, {"seed": 0}).covers("y.png", "abc")
    assert not Manifest(folder, {"seed": 1}).covers("x.png", "abc")
    (folder / "halftone/x.png").write_bytes(b"123")
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "abc")
    (folder / "halftone/x.png").unlink()
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "abc")


def test_the_last_line_of_a_name_is_valid(folder):
    finished(folder, {"seed": 0})
    finished(folder, {"seed": 1})
    assert not Manifest(folder, {"seed": 0}).covers("x.png", "abc")
    assert Manifest(folder, {"seed": 0}).result("x.png") is None
    assert Manifest(folder, {"seed": 1}).covers("x.png", "abc")
    assert Manifest(folder, {"seed": 1}).result("x.png") == RESULT


def test_results_are_strict_json_and_keep_numbers_that_are_not_finite(folder):
    def refuse(constant):
        pytest.fail(f"{constant} is not JSON")

    scores = {"psnr": math.inf, "ssim": math.nan, "tone": 1 / 3}
    written = finished(folder, result=FileResult((1, 2), 0.5, scores, "")).result("x.png")
    json.loads((folder / "manifest.jsonl").read_text(), parse_constant=refuse)
    read = Manifest(folder, {"seed": 0}).result("x.png")
    for result in (written, read):
        assert (result.size, result.seconds, result.note) == ([1, 2], 0.5, "")
        assert result.scores["psnr"] == math.inf and math.isnan(result.scores["ssim"])
        assert result.scores["tone"] == 1 / 3
    finished(folder, result=FileResult((1, 2), 0.5, None, ""))
    assert Manifest(folder, {"seed": 0}).result("x.png").scores is None


def test_lines_without_a_result_are_covered_and_have_an_empty_one(folder):
    entry = {"name": "x.png", "input": "abc", "made_by": {"seed": 0}, "outputs": {"halftone/x.png": 5}}
    (folder / "manifest.jsonl").write_text(json.dumps(entry) + "\n")
    manifest = Manifest(folder, {"seed": 0})
    assert manifest.covers("x.png", "abc")
    assert manifest.result("x.png") == FileResult(None, None, None, None)


@pytest.mark.parametrize(
    "torn",
    [
        '{"name": "x.png", "inp',
        "3",
        "[]",
        '{"name": []}',
        '{"name": "x.png"}',
        '{"shard": []}',
        '["shard"]',
        "\x00\xff",
    ],
)
def test_an_incomplete_line_hides_neither_the_lines_before_nor_after_it(folder, torn):
    finished(folder)
    with open(folder / "manifest.jsonl", "a") as file:
        file.write(torn)
    (folder / "halftone/y.png").write_bytes(b"1")
    manifest = Manifest(folder, {"seed": 0})
    assert manifest.covers("x.png", "abc") != ('"x.png"}' in torn)
    manifest.add("y.png", "def", [folder / "halftone/y.png"], RESULT)
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
        manifest.add("x.png", "abc", [folder / "halftone/x.png"], RESULT)
    assert not manifest.covers("x.png", "abc")


def test_several_writers_leave_every_line_complete(folder):
    def write(maker):
        manifest = Manifest(folder, {"seed": 0})
        for index in range(50):
            manifest.add(f"{maker}{index}" + "x" * 9000, "abc", [folder / "halftone/x.png"], RESULT)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    assert len({json.loads(line)["name"] for line in lines}) == len(lines) == 200


def test_a_line_left_incomplete_by_another_writer_hides_no_later_one(folder):
    manifest = finished(folder)
    with open(folder / "manifest.jsonl", "a") as file:
        file.write('{"name": "y.png", "inp')
    manifest.add("z.png", "def", [folder / "halftone/x.png"], RESULT)
    assert Manifest(folder, {"seed": 0}).covers("z.png", "def")
