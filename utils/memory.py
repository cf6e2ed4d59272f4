"""How much memory this process may still take."""

import os
from pathlib import Path

# Folder, limit, usage and the reclaimable part of usage, of a Linux control group as a container sees its own.
_CONTROL_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_memory() -> int:
    """Bytes that can be taken without swapping: what the machine has, or what its container leaves if that is less."""
    try:
        free = 1024 * _field("/proc/meminfo", "MemAvailable:")
    except OSError:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    for folder, limit, usage, reclaimable in _CONTROL_GROUPS:
        try:
            used = int(Path(folder, usage).read_text()) - _field(f"{folder}/memory.stat", reclaimable)
            free = min(free, int(Path(folder, limit).read_text()) - used)
        except (OSError, ValueError):  # no such group, or its limit is the word "max"
            continue
    return max(free, 0)


def _field(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise OSError(f"{file} has no {name}")
