"""Dithering and restoring beside other work: 16 small photographs and a large one, alone and beside busy processes.

    python bench/beside_work.py [--repeats 3] [--busy 0 1 2]

Each measurement is a new process, in turn with OpenMP's usual waiting (milliseconds of spinning) and with none. Busy
processes compute on one core each. The last rows run two copies at once, as torchrun --nproc_per_node=2 does. Prints
the minimum of the repeats in seconds, without loading and compilation.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORK = """
import time
from reshalf import ResHalfCodec
from images.files import read_image
import cv2
codec, photo = ResHalfCodec(device="cpu"), read_image("test_imgs/astronaut.jpg").bgr
sizes = {"small": [(80, 64)] * 16, "large": [(1024, 1024)]}
photos = {name: [cv2.resize(photo, size) for size in each] for name, each in sizes.items()}
codec.restore(codec.halftone(photos["small"][0]))
for each in photos.values():
    start = time.perf_counter()
    for bgr in each:
        codec.restore(codec.halftone(bgr))
    print(time.perf_counter() - start)
"""
POLICIES = {"default": {}, **{policy: {"OMP_WAIT_POLICY": policy} for policy in ("ACTIVE", "PASSIVE")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="numbers of busy processes")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"{'beside':28}{'waiting':12}{'16 of 80 x 64':>15}{'1024 x 1024':>13}")
    rows = [(f"{count} busy processes", count, 1) for count in arguments.busy] + [("a second copy", 0, 2)]
    for name, busy, copies in rows:
        found = {policy: [] for policy in POLICIES}
        for _ in range(arguments.repeats):
            for policy, times in found.items():
                with busy_processes(busy):
                    times.append(measure(POLICIES[policy], copies))
        for policy, times in found.items():
            small, large = (min(column) for column in zip(*times, strict=True))
            print(f"{name:28}{policy:12}{small:15.2f}{large:13.2f}", flush=True)


def measure(environment: dict[str, str], copies: int) -> list[float]:
    """Seconds for the small and for the large photographs, of the slowest of `copies` processes at once."""
    settings = os.environ | environment | ({"LOCAL_WORLD_SIZE": str(copies)} if copies > 1 else {})
    command = [sys.executable, "-c", WORK]
    running = [
        subprocess.Popen(command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, text=True) for _ in range(copies)
    ]
    times = [list(map(float, process.communicate()[0].split())) for process in running]
    return [max(column) for column in zip(*times, strict=True)]


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """`count` processes that compute without end."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
