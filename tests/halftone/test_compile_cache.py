"""Read-only installations."""

import os
from pathlib import Path

import numba
import pytest

from halftone.compile_cache import ensure_compile_cache


@pytest.mark.parametrize(("writable", "own"), [((), True), (("/somewhere",), False)])
def test_where_nothing_can_be_written_compiled_code_goes_to_a_temporary_folder(writable, own, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: str(path).startswith("/somewhere") or real(path))
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(writable or "nothing"))
    ensure_compile_cache()
    assert bool(numba.config.CACHE_DIR) == own
    if own:
        assert Path(numba.config.CACHE_DIR).is_dir() and not list(Path(numba.config.CACHE_DIR).iterdir())


def test_a_cache_of_ones_own_is_left_alone(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/mine")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    ensure_compile_cache()
    assert numba.config.CACHE_DIR == "/mine"
