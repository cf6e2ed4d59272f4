"""Instruction sets and memory of the machine, as reported by Linux."""

import os
from functools import cache
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
# Linux control groups (v2, v1): folder, files of limit and usage, field of the reclaimable part of the usage.
_CONTROL_GROUPS = (
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


@cache
def cpu_flags() -> frozenset[str]:
    """Instruction sets that torch may use: avx512_bf16, amx_bf16, avx512_vnni, …; empty on systems other than Linux.

    Without those beyond AVX2 where ATEN_CPU_CAPABILITY=avx2 or ONEDNN_MAX_CPU_ISA=AVX2 restricts torch's kernels: one
    machine can then test the computations of others.
    """
    flags = frozenset(CPUINFO.read_text().split()) if CPUINFO.exists() else frozenset()
    if torch.backends.cpu.get_cpu_capability() != "AVX2" and os.environ.get("ONEDNN_MAX_CPU_ISA") != "AVX2":
        return flags
    return frozenset(flag for flag in flags if not flag.startswith(("avx512", "amx", "avx_vnni")))


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16 (on a CPU: AVX-512 BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags())


def available_memory() -> int:
    """Bytes that can be allocated without swapping: the minimum of the machine's and the container's free memory."""
    try:
        free = 1024 * _field("/proc/meminfo", "MemAvailable:")
    except OSError:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    for folder, limit, usage, reclaimable in _CONTROL_GROUPS:
        try:
            used = int(Path(folder, usage).read_text()) - _field(f"{folder}/memory.stat", reclaimable)
            free = min(free, int(Path(folder, limit).read_text()) - used)
        except (OSError, ValueError):  # no such group, or its limit is "max"
            continue
    return max(free, 0)


def peak_memory() -> int:
    """Peak resident memory of this process in bytes; getrusage includes that of the process it was forked from."""
    return 1024 * _field("/proc/self/status", "VmHWM:")


def _field(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise OSError(f"{file} has no {name}")
