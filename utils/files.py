"""Atomic writes, locks, checksums and checks of output folders."""

import fcntl
import hashlib
import json
import math
import os
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from utils.errors import UserError

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp(\.[^.]*)?")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success it replaces `path`, on any error it is removed.

    The data is flushed to the disk before the rename, so a crash leaves either the old file or the new one.
    The parent folder must exist. The temporary name keeps the suffix, which image encoders need. The temporary file
    exists and is locked, so that `remove_leftovers` spares it while its writer runs. OSErrors name `path`.
    """
    path = Path(path)
    try:
        temporary, lock = _claim(path)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename, error.filename2 = str(path), None  # the temporary name means nothing to the user
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def locked(path: Path, busy_message: str) -> Iterator[None]:
    """Hold a lock on the file `path`, created if missing; the system releases it when the process ends.

    Raises UserError with `busy_message` if another process holds it. Without effect on file systems without locks.
    """
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(busy_message) from None
        except OSError:
            pass
        yield


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove from `folders` the temporary files of killed writers, and no others.

    Running writers, on any host, hold a lock on theirs. On file systems without locks nothing is removed.
    """
    for folder in folders:
        with suppress(OSError):  # missing folders have no leftovers; unreadable ones are reported when written to
            for path in folder.iterdir():
                if _TEMPORARY.fullmatch(path.name):
                    _remove_unlocked(path)


def checksum(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_or_empty(path: Path) -> str:
    """`checksum`, or "" if the file cannot be read, which its reader reports."""
    try:
        return checksum(path) if path.is_file() else ""  # opening a named pipe would block
    except OSError:
        return ""


def read_json(path: str | Path) -> Any:
    """Parse a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises OSError, and ValueError where it is no JSON.
    """
    return json.loads(Path(path).read_bytes())


def write_json(path: str | Path, content: Any) -> None:
    """Write strict JSON atomically: NaN becomes null, infinities the strings "inf" and "-inf"."""
    text = json.dumps(_strict(content), indent=1, allow_nan=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _strict(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _strict(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_strict(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None if math.isnan(content) else str(content)
    return content


def check_overwriting(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise UserError if an output is the same file as an input."""
    originals = {os.path.realpath(path) for path in inputs}
    for output in outputs:
        if os.path.realpath(output) in originals:
            raise UserError(f"{output} is an input and would be overwritten: choose another folder")


def check_folder(folder: Path) -> None:
    """Raise UserError if `folder` cannot be created because it, or a parent, exists and is not a folder."""
    existing = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), None)
    if existing is not None and not existing.is_dir():
        raise UserError(f"{existing}: not a folder")


def check_writable(folder: Path) -> None:
    """Create `folder` if it is missing. Raises UserError if files cannot be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error


def make_parent(path: Path) -> Path:
    """Create the parent folder of `path` if it is missing; returns `path`. Raises UserError if it cannot be created."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be created: {error.strerror}") from error
    return path


def _claim(path: Path) -> tuple[Path, int]:
    """A new empty temporary file in the folder of `path`, and the descriptor that holds its lock."""
    while True:
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp{path.suffix}")
        lock = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, lock
        os.close(lock)  # another process removed it as a leftover before it was locked


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):
        lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(lock)
