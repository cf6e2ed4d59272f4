"""Speed of every halftoning method, compared with Pillow, in Mpixel/s.

python bench/halftone_speed.py [--sizes 1024 8192] [--seconds 2] [--methods NAME ...]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from halftone import METHODS  # noqa: E402

# isort: split
import numba  # noqa: E402  after halftone, which sets the threads

Halftone = Callable[[np.ndarray], object]
BATCH = 4  # images in parallel in the rows that use all cores


def main(argv: list[str] | None = None) -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 8192], help="sides of the square images")
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of each measurement")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    arguments = parser.parse_args(argv)

    rows = {"Pillow, Floyd-Steinberg": pillow, **{name: METHODS[name] for name in arguments.methods}}
    rows |= {
        f"{name}, {BATCH} images on all cores": on_all_cores(METHODS[name])
        for name in ("floyd_steinberg", "ostromoukhov")
    }
    print(f"{os.cpu_count()} cores, numba {numba.__version__}, best run of each, wall clock, Mpixel/s\n")
    print("| | " + " | ".join(f"{size}²" for size in arguments.sizes) + " |")
    print("|---|" + "---|" * len(arguments.sizes))
    photos = {size: photo(size) for size in arguments.sizes}
    for name, halftone in rows.items():
        halftone(photo(64))  # compile, or load from the cache
        cells = []
        speed = np.inf
        for size in arguments.sizes:
            images = BATCH if "images" in name else 1
            pixels = images * size * size / 1e6
            if pixels / speed > 60:
                cells.append("(a minute or more)")
                continue
            speed = pixels / best_time(lambda size=size, halftone=halftone: halftone(photos[size]), arguments.seconds)
            cells.append(f"{speed:.0f}" if speed >= 10 else f"{speed:.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return 0


def photo(size: int) -> np.ndarray:
    """Return uint8 (size, size): gradients, an edge and noise, which defeat branch prediction."""
    y, x = np.mgrid[:size, :size].astype(np.float32)
    gray = 127 + 100 * np.sin(x / 200) * np.cos(y / 170) + np.random.RandomState(0).randn(size, size) * 10
    gray[:, size // 2 : size // 2 + 40] += 60
    return np.clip(gray, 0, 255).astype(np.uint8)


def best_time(run: Callable[[], object], seconds: float) -> float:
    """Return the seconds of the fastest run; runs until `seconds` have passed, at least once."""
    best, end = np.inf, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() >= end:
            return best


def on_all_cores(halftone: Halftone) -> Halftone:
    """Return a function that halftones BATCH images in threads; the compiled loops release the GIL."""

    def batch(gray: np.ndarray) -> object:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(halftone, [gray] * BATCH))

    return batch


def pillow(gray: np.ndarray) -> Image.Image:
    """Pillow's Floyd-Steinberg; its conversion from numpy is part of the time."""
    return Image.fromarray(gray).convert("1")


if __name__ == "__main__":
    sys.exit(main())
