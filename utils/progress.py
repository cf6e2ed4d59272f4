"""Progress of long loops: a bar in a terminal, elsewhere (nohup, a log file) a line a minute."""

import sys
from collections.abc import Iterable
from typing import TextIO

from tqdm import tqdm

from utils.errors import printable

SECONDS = 60
"""Between two lines; shorter loops print none."""


class _Lines:
    """A stream for tqdm that ends each state of the bar with a newline instead of overwriting it."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> None:
        if text := text.strip("\r\n "):
            self.stream.write(text + "\n")

    def flush(self) -> None:
        self.stream.flush()


def progress(items: Iterable | None = None, description: str | None = None, **options) -> tqdm:
    """tqdm over `items`, or a bar with `total` to be updated; `options` are tqdm's. It writes to stderr."""
    if not sys.stderr.isatty():
        options |= {"file": _Lines(sys.stderr), "mininterval": SECONDS, "maxinterval": SECONDS, "delay": SECONDS}
    return tqdm(items, desc=description, miniters=1, **options)


def print_above(line: str) -> None:
    """Print a line to stderr, above a progress bar if there is one."""
    tqdm.write(printable(line), file=sys.stderr)
