"""Files appear when they are complete; temporary files of killed writers are removed, those of running ones stay."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from utils.files import atomic_write, checksum_or_empty, remove_leftovers, write_json

ROOT = Path(__file__).parents[2]

WRITER = """
import sys, time
from utils.files import atomic_write

with atomic_write(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    print(temporary, flush=True)
    sys.stdin.readline()
"""


def hidden(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_file_appears_when_it_is_complete_and_not_after_an_error(tmp_path):
    path = tmp_path / "x.png"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.suffix == ".png" and not path.exists()
    assert path.read_bytes() == b"new"
    with pytest.raises(ZeroDivisionError), atomic_write(path) as temporary:
        temporary.write_bytes(b"newer")
        raise ZeroDivisionError
    with pytest.raises(OSError) as full, atomic_write(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(path)
    assert path.read_bytes() == b"new"
    assert not hidden(tmp_path)


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing/x.png", tmp_path / "folder"):
        with pytest.raises(OSError) as failed, atomic_write(path):
            pass
        assert failed.value.filename == str(path) and ".tmp" not in str(failed.value)
    with pytest.raises(OSError) as failed, atomic_write(tmp_path / "x") as temporary:
        temporary.unlink()
        temporary.mkdir()
        try:
            temporary.write_text("")
        finally:
            temporary.rmdir()
    assert failed.value.filename == str(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_the_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "x"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_only_the_files_of_killed_writers_are_removed(tmp_path):
    running, killed = (
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / name)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("running.png", "killed.png")
    )
    kept, left = (Path(process.stdout.readline().strip()) for process in (running, killed))
    mine = tmp_path / ".notes.tmp"
    mine.touch()
    remove_leftovers([tmp_path, tmp_path / "missing"])
    assert kept.exists() and left.exists()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    remove_leftovers([tmp_path])
    assert sorted(hidden(tmp_path)) == sorted([kept, mine])
    running.communicate("\n")
    assert (tmp_path / "running.png").read_bytes() == b"half"


def test_a_writer_whose_temporary_file_is_removed_too_early_creates_another(tmp_path, monkeypatch):
    opened, names = os.open, []

    def hurried(path, *more):
        descriptor = opened(path, *more)
        names.append(path)
        if len(names) == 1:
            remove_leftovers([tmp_path])
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr("utils.files.os.open", hurried)
        with atomic_write(tmp_path / "x") as temporary:
            temporary.write_bytes(b"1")
    assert (tmp_path / "x").read_bytes() == b"1" and len(set(names)) == 2


def test_json_is_strict_about_nan_and_infinity(tmp_path):
    write_json(tmp_path / "metrics.json", {"a": [math.nan, math.inf, -math.inf, 1.5], "n": 3, "s": "é"})

    def refuse(constant):
        raise AssertionError(constant)

    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {"a": [None, "inf", "-inf", 1.5], "n": 3, "s": "é"}


def test_the_checksum_of_a_file_that_cannot_be_read_is_empty(tmp_path):
    (tmp_path / "x.png").write_bytes(b"x")
    assert checksum_or_empty(tmp_path / "missing") == checksum_or_empty(tmp_path) == ""
    assert len(checksum_or_empty(tmp_path / "x.png")) == 64
