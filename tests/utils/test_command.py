"""Exit codes and output of commands, also with closed streams."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from utils.command import exit_code
from utils.errors import UserError, printable

ROOT = Path(__file__).parents[2]
PRINTS = r"""
import sys
from utils.command import exit_code, ignore_broken_pipe
def run():
    with ignore_broken_pipe():
        for _ in range(10_000):
            print("320 × 200 \udcff.png")
        sys.stdout.flush()
    print("all done", file=sys.stderr)
    return 0
sys.exit(exit_code(run))
"""


def shell(command):
    line = f"{sys.executable} -c '{PRINTS}' {command}"
    return subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("command", ["| head -1", ">&-", "2>&- >&-"])
def test_closed_output_streams_are_no_error(command):
    done = shell(command)
    assert done.returncode == 0 and done.stderr in ("all done\n", "")


def test_characters_that_the_encoding_lacks_are_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", "strict", write_through=True))
    assert exit_code(lambda: print("320 × 200 \udcff.png") or 0) == 0
    assert raw.getvalue() == rb"320 \xd7 200 \udcff.png" + b"\n"


def test_an_error_is_printed_in_one_line(capsys):
    def refuse():
        raise UserError("a\nb\x1b[31m.png: not an image")

    assert exit_code(refuse) == 2
    assert capsys.readouterr().err == "error: a\\nb\\x1b[31m.png: not an image\n"
    assert printable("Übung 写真 a.png") == "Übung 写真 a.png"
