"""Errors that the user can fix, and how they are printed."""

import difflib
from collections.abc import Iterable, Iterator
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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" with the known name most similar to a misspelt one; "" where none is similar."""
    by_lower_case = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f"; did you mean {by_lower_case[found[0]]}?" if found else ""


def printable(text: object) -> str:
    r"""`text` in one line: line breaks and control characters, as in file names, become \n, \x1b …"""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
