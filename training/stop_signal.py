"""SIGTERM and Ctrl-C as a request to stop after the current step."""

import os
import signal
import time
from typing import Any


class StopSignal:
    """Inside the `with`, the first SIGTERM or SIGINT is kept in `number`; one that comes later ends the process.

    Signals within 2 seconds of the first are ignored, since torchrun repeats what the terminal has already sent.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._time = 0.0

    def __enter__(self) -> "StopSignal":
        self._handlers = {number: signal.signal(number, self._receive) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _frame: Any) -> None:
        now = time.monotonic()
        if self.number is None:
            self.number, self._time = number, now
            os.write(2, b"\nstop requested: finishing the step and saving\n")  # print is not reentrant
        elif now - self._time > 2:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
