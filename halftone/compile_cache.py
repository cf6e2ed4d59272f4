"""Cache folder of numba's compiled functions."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import numba

PACKAGE = Path(__file__).parent


def ensure_compile_cache() -> None:
    """Give numba a temporary cache folder if neither the package nor the user's cache folder is writable.

    Without it numba refuses to compile in a read-only container. The folder is removed at exit.
    """
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not numba.config.CACHE_DIR and not any(map(_is_writable, (PACKAGE / "__pycache__", user / "numba"))):
        numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="numba_")
        atexit.register(shutil.rmtree, numba.config.CACHE_DIR, ignore_errors=True)


def _is_writable(folder: Path) -> bool:
    """Whether `folder` is writable or, if it does not exist, can be created."""
    return os.access(next(path for path in (folder, *folder.parents) if path.exists()), os.W_OK)
