"""The end of every command: errors in one line, and exit codes."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from utils.errors import Interrupted, UserError, printable
from utils.progress import print_above


def exit_code(run: Callable[[], int]) -> int:
    """Call `run` and return its exit code; 2 after a UserError or OSError, which is printed in one line.

    After signal n (Ctrl-C, SIGTERM) the exit code is 128 + n.
    """
    _open_streams()
    received = signal.SIGINT

    def stop(number, _frame):
        nonlocal received
        received = number
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return run()
    except UserError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except Interrupted as stopped:
        print(printable(str(stopped)), file=sys.stderr)
        return 128 + stopped.signum
    except KeyboardInterrupt:
        return 128 + received
    finally:
        signal.signal(signal.SIGTERM, before)


def warn(about: object, remarks: Iterable[str]) -> None:
    """Print a line "warning: …" for each remark about a file, above a progress bar if there is one."""
    for remark in remarks:
        print_above(f"warning: {about}: {remark}")


@contextmanager
def ignore_broken_pipe() -> Iterator[None]:
    """Context in which printing ignores BrokenPipeError, as raised in `command | head`."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_streams() -> None:
    """Replace closed streams by the null device; escape characters that a stream's encoding lacks."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8", errors="ignore"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _fail(reason: str) -> int:
    """Print "error: reason" to stderr; returns 2, the exit code of wrong usage."""
    print(printable(f"error: {reason}"), file=sys.stderr)
    return 2
