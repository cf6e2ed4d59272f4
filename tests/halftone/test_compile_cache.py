"""numba's cache folder in read-only installations."""

import os
from pathlib import Path

import numba
import pytest

from halftone.compile_cache import ensure_compile_cache


@pytest.mark.parametrize(("writable", "temporary"), [((), True), (("/somewhere",), False)])
def test_the_cache_is_a_temporary_folder_where_no_cache_folder_is_writable(writable, temporary, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: str(path).startswith("/somewhere") or real(path))
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(writable or "nothing"))
    ensure_compile_cache()
    assert bool(numba.config.CACHE_DIR) == temporary
    if temporary:
        assert Path(numba.config.CACHE_DIR).is_dir() and not list(Path(numba.config.CACHE_DIR).iterdir())


def test_a_configured_cache_folder_is_kept(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/mine")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    ensure_compile_cache()
    assert numba.config.CACHE_DIR == "/mine"
