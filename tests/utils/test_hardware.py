"""Memory of the machine and of this process."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from utils.hardware import available_memory, peak_memory


def test_available_memory_is_at_most_the_total_memory():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < available_memory() <= total


def test_the_peak_is_that_of_this_process_not_of_the_larger_one_that_started_it():
    held = np.ones(1 << 25)  # 256 MB
    started = [sys.executable, "-c", "from utils.hardware import peak_memory; print(peak_memory())"]
    own = peak_memory()
    other = int(subprocess.run(started, check=True, capture_output=True, text=True).stdout)
    assert held.nbytes < own and 0 < other < own - held.nbytes // 2
