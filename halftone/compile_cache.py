"""Where numba keeps what it has compiled."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import numba

PACKAGE = Path(__file__).parent


def ensure_compile_cache() -> None:
    """Where neither the package nor the user's cache folder can be written, as in a read-only container, give numba a
    folder that lasts as long as the process; numba would refuse to compile otherwise."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not numba.config.CACHE_DIR and not any(map(_is_writable, (PACKAGE / "__pycache__", user / "numba"))):
        numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="numba_")
        atexit.register(shutil.rmtree, numba.config.CACHE_DIR, ignore_errors=True)


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, which may have to be made itself."""
    return os.access(next(path for path in (folder, *folder.parents) if path.exists()), os.W_OK)
