"""Errors that the user can fix, and how they are printed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake in the input. The message is one line that names the file or key and the reason."""


class Interrupted(Exception):
    """A run was stopped by signal `signum` and has saved its state; the message says how to continue."""

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum = signum


@contextmanager
def name_errors(path: str | Path) -> Iterator[None]:
    """Convert MemoryError and FloatingPointError to a UserError that names the image."""
    try:
        yield
    except MemoryError as error:
        raise UserError(f"{path}: not enough memory for an image of this size") from error
    except FloatingPointError as error:
        raise UserError(f"{path}: {error}") from error


def printable(text: object) -> str:
    r"""`text` in one line: line breaks and control characters, as in file names, become \n, \x1b …"""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
