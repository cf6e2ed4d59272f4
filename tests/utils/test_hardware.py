"""Instruction sets and free memory."""

from pathlib import Path

from utils.hardware import available_memory


def test_available_memory_is_at_most_the_total_memory():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < available_memory() <= total
