"""Processes that belong to another one."""

import os
import signal
import threading
import time


def end_with_parent(seconds: float = 2.0) -> None:
    """Kill this process when its parent has died; checked every `seconds`.

    Otherwise it would wait for it: processes that Fabric's launcher started, until training.devices.COLLECTIVE_TIMEOUT;
    those of a process pool, for ever.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
