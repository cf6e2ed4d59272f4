"""Reuse of freed memory by glibc's malloc, decided for the process before arrays are allocated.

By default glibc maps every array above 32 MB anew and unmaps it when it is freed, and the kernel clears its pages at
their first use: a third of the time of a network on maps of 50 MB (bench/inference_speed.py). Here such arrays are
reused; up to MAX_UNUSED bytes at the end of the heap stay with the process. Settings of the user are kept.
"""

import ctypes
import os

MAX_REUSED, MAX_UNUSED = 1 << 30, 512 << 20
"""Bytes: size of the largest arrays that are reused, and free memory that is not returned to the system."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # parameters of mallopt, malloc.h
_BY_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def reuse_freed_memory() -> None:
    """Set the thresholds; does nothing with another C library."""
    if any(variable in os.environ for variable in _BY_USER):
        return
    try:
        set_option = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    set_option(_MMAP_THRESHOLD, MAX_REUSED)
    set_option(_TRIM_THRESHOLD, MAX_UNUSED)
