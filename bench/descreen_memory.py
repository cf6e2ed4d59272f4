"""Time and peak memory of descreening large scans.

    python bench/descreen_memory.py [--dpi 300 600] [--lines 133] [--photos test_imgs]

Two simulated A4 scans at each resolution, printed at --lines per inch: a picture that fills the page, and a page of two
columns with two pictures beside text (descreen/pages.py). Each is made in one process and restored in another, with
the shipped network: seconds per megapixel of finding the regions and of restoring, and the peak resident memory of the
process, which includes the libraries (printed as "at start").
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from descreen.command import IDEAL_INKS, load_trained  # noqa: E402
from descreen.config import ScreensConfig  # noqa: E402
from descreen.pages import draw_page  # noqa: E402
from descreen.printing import draw_printing, print_and_scan  # noqa: E402
from descreen.regions import find_regions  # noqa: E402
from images.files import read_image, write_image  # noqa: E402
from images.listing import list_images  # noqa: E402
from utils.hardware import peak_memory  # noqa: E402

A4_INCHES = (11.69, 8.27)
KINDS = ("picture", "page")


def make_scan(kind: str, dpi: int, lines: int, photos: list[np.ndarray]) -> np.ndarray:
    """A scan of an A4 page, (H, W, 3) BGR uint8."""
    size = [round(inches * dpi) for inches in A4_INCHES]
    screens = ScreensConfig(line=0, fm=0, gray=0, clean=0, pitch_min=dpi / lines, pitch_max=dpi / lines, resample=0)
    random = np.random.default_rng(0)
    if kind == "page":
        return draw_page(photos[:2], tuple(size), screens, random).scan
    photo = cv2.resize(photos[0], size[::-1], interpolation=cv2.INTER_CUBIC)
    return print_and_scan(photo, draw_printing(screens, random))


def measure(path: Path) -> dict[str, float]:
    """Regions, seconds and gigabytes of restoring one file, in a process of its own."""
    command = [sys.executable, __file__, "--measure", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def measure_here(path: Path) -> dict[str, float]:
    engine = load_trained(IDEAL_INKS)
    start_memory = peak_memory() / 1e9
    scan, times = read_image(path).bgr, [time.perf_counter()]
    regions = find_regions(scan)
    times.append(time.perf_counter())
    found_memory = peak_memory() / 1e9
    engine.restore(scan, regions)
    times.append(time.perf_counter())
    megapixels = scan.shape[0] * scan.shape[1] / 1e6
    find, restore = np.diff(times) / megapixels
    return {
        "megapixels": megapixels,
        "regions": len(regions),
        "find": find,
        "restore": restore,
        "at_start": start_memory,
        "found": found_memory,
        "peak": peak_memory() / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dpi", type=int, nargs="+", default=[300, 600])
    parser.add_argument("--lines", type=int, default=133)
    parser.add_argument("--photos", type=Path, default=ROOT / "test_imgs")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure_here(arguments.measure)))
        return
    photos = [read_image(path).bgr for path in list_images(arguments.photos)]
    print(f"{'':20}{'megapixels':>12}{'regions':>9}{'find s/MP':>11}{'restore s/MP':>14}", end="")
    print(f"{'at start GB':>13}{'found GB':>10}{'peak GB':>9}")
    with TemporaryDirectory() as name:
        folder = Path(name)
        for dpi in arguments.dpi:
            for kind in KINDS:
                path = folder / f"{kind}_{dpi}.png"
                write_image(path, make_scan(kind, dpi, arguments.lines, photos))
                row = measure(path)
                print(
                    f"{f'{kind}, {dpi} dpi':20}{row['megapixels']:12.1f}{row['regions']:9}{row['find']:11.2f}"
                    f"{row['restore']:14.2f}{row['at_start']:13.2f}{row['found']:10.2f}{row['peak']:9.2f}",
                    flush=True,
                )
                path.unlink()


if __name__ == "__main__":
    main()
