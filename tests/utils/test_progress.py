"""Progress without a terminal: lines, and only in long loops."""

import sys

import pytest

from utils import progress as module
from utils.progress import progress


def run():
    assert list(progress(range(3), "halftoning", total=3, unit="photo")) == [0, 1, 2]


def test_without_a_terminal_a_long_loop_prints_whole_lines(monkeypatch, capsys):
    monkeypatch.setattr(module, "SECONDS", 0)
    run()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3 and all(line.startswith("halftoning: ") and "\r" not in line for line in lines)
    assert "3/3" in lines[-1]


def test_without_a_terminal_a_short_loop_prints_nothing(capsys):
    run()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("disabled", [True, False])
def test_in_a_terminal_there_is_a_bar_unless_disabled(monkeypatch, capsys, disabled):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(progress(range(3), "halftoning", disable=disabled))
    assert ("\rhalftoning" in capsys.readouterr().err) == (not disabled)
