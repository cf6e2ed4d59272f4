"""Large arrays reuse the memory of freed ones, unless the user has set glibc's thresholds."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = """
{first}
import resource
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    filled = b"x" * (96 << 20)
    del filled
before = faults()
filled = b"x" * (96 << 20)
print(faults() - before)
"""


def page_faults(first, **environment):
    """Page faults of a new process at filling 96 MB, after the same was filled and freed twice."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", SHOW.format(first=first)]
    done = subprocess.run(command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the thresholds are those of glibc")
def test_large_arrays_reuse_freed_memory_unless_the_user_has_set_the_allocator():
    pages = (96 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert page_faults("import halftone") < pages / 100
    assert page_faults("import halftone", MALLOC_TRIM_THRESHOLD_="131072") > pages / 2
    assert page_faults("") > pages / 2
