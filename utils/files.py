"""Atomic writes, locks and checksums."""

import fcntl
import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
def locked(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock on the file `path`, created if missing; the system releases it when the process ends.

    Raises UserError with the message `busy` if another process holds it. Without effect on file systems without locks.
    """
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(busy) from None
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
