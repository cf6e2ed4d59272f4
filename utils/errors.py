"""The one exception that means: the user can mend this, and how it is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake in the input. The message is one line that names the file or key and the reason."""


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turn a lack of memory, or a network's output that is not finite, into a UserError that names the picture."""
    try:
        yield
    except MemoryError as error:
        raise UserError(f"{path}: not enough memory for a picture of this size") from error
    except FloatingPointError as error:
        raise UserError(f"{path}: {error}") from error


def printable(text: object) -> str:
    r"""`text` in one line: what a file's name holds of line breaks and control characters is written as \n, \x1b …"""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in str(text))
