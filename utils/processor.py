"""What the processor can do, as Linux lists it."""

from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


@cache
def cpu_flags() -> frozenset[str]:
    """Names of its instruction sets among other words: avx512_bf16, amx_bf16, avx512_vnni, …; empty elsewhere."""
    return frozenset(CPUINFO.read_text().split()) if CPUINFO.exists() else frozenset()
