"""How a command ends: what went wrong in one line, and an exit code."""

import signal
import sys
from collections.abc import Callable

from utils.errors import UserError


def exit_code(run: Callable[[], int]) -> int:
    """Call `run` and return what it returns, or 2 after a UserError or a file's OSError, printed in one line.

    128 + n after signal n (Ctrl-C, SIGTERM).
    """
    received = signal.SIGINT

    def stop(number, _frame):
        nonlocal received
        received = number
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        return run()
    except UserError as error:
        return fail(str(error))
    except OSError as error:
        return fail(f"{error.filename or 'a file'}: {error.strerror or error}")
    except KeyboardInterrupt:
        return 128 + received
    finally:
        signal.signal(signal.SIGTERM, before)


def fail(reason: str) -> int:
    """Print "error: reason" to stderr; 2, the exit code of wrong use."""
    print(f"error: {reason}", file=sys.stderr)
    return 2
