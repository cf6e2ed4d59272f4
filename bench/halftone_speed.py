"""Speed of every halftoning method, compared with Pillow and other installed packages, in Mpixel/s.

python bench/halftone_speed.py [--sizes 1024 8192] [--seconds 2] [--methods NAME ...]
Optional packages to compare with: pip install dithering epaper-dithering
"""

import argparse
import importlib
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from halftone import METHODS  # noqa: E402

Halftone = Callable[[np.ndarray], object]
BATCH = 4  # images in parallel in the rows that use all cores


def main(argv: list[str] | None = None) -> int:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 8192], help="sides of the square images")
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of each measurement")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    arguments = parser.parse_args(argv)

    rows = {**others(), **{name: METHODS[name] for name in arguments.methods}}
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


def others() -> dict[str, Halftone]:
    """Return other implementations to compare with; conversions to and from their own types are not timed."""
    rows: dict[str, Halftone] = {}
    images: dict[int, Image.Image] = {}

    def pil(gray: np.ndarray, mode: str) -> Image.Image:
        key = (id(gray), mode)
        if key not in images:
            images[key] = Image.fromarray(gray).convert(mode)
        return images[key]

    rows["Pillow, Floyd-Steinberg"] = lambda gray: pil(gray, "L").convert("1")
    rows["direct numba loop, Floyd-Steinberg"] = direct_floyd_steinberg
    dithering = installed("dithering")
    if dithering:
        rows["dithering (Rust), Floyd-Steinberg"] = lambda gray: dithering.error_diffusion(gray)
        rows["dithering (Rust), Floyd-Steinberg serpentine"] = lambda gray: dithering.error_diffusion(
            gray, serpentine=True
        )
        rows["dithering (Rust), Jarvis-Judice-Ninke"] = lambda gray: dithering.error_diffusion(gray, "jjn")
        rows["dithering (Rust), Bayer 8"] = lambda gray: dithering.ordered_dither(gray, 8)
    epaper = installed("epaper_dithering")
    if epaper:
        rows["epaper-dithering, Floyd-Steinberg"] = lambda gray: epaper.dither_image(
            pil(gray, "RGB"), epaper.ColorScheme.MONO, mode=epaper.DitherMode.FLOYD_STEINBERG
        )
    return rows


def installed(name: str) -> object | None:
    """Return the module, or None after printing that it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"not installed, so not in the table: {name}")
        return None


@numba.njit(cache=True)
def direct_floyd_steinberg(gray):
    """Floyd-Steinberg without optimization: a float image and four additions per pixel."""
    height, width = gray.shape
    level = gray.astype(np.float32)
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            out[y, x] = 255 if level[y, x] > 127.5 else 0
            error = level[y, x] - out[y, x]
            if x + 1 < width:
                level[y, x + 1] += error * np.float32(7 / 16)
            if y + 1 < height:
                if x > 0:
                    level[y + 1, x - 1] += error * np.float32(3 / 16)
                level[y + 1, x] += error * np.float32(5 / 16)
                if x + 1 < width:
                    level[y + 1, x + 1] += error * np.float32(1 / 16)
    return out


if __name__ == "__main__":
    sys.exit(main())
