"""Halftoning a training set before the first step, by the number of cores.

    python bench/halftone_scaling.py [--cores 1 2 4 8 16] [--photos 24] [--side 256]

prints seconds for --photos photographs and their mirror images, photographs per second, and the ratio to the first row.
Each row is a process of its own, bound to that many cores (default: 1 and all); the photographs are resized test_imgs.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from halftone.threads import available_cores  # noqa: E402


def seconds(photos: int, side: int) -> float:
    """Time of halftoning in this process, without loading and compilation."""
    import cv2
    import numpy as np

    from dataset.photo_set import PhotoSet
    from images.files import read_image
    from images.listing import list_images
    from reshalf import ResHalfCodec
    from reshalf.streams import add_prior

    originals = [read_image(path).bgr for path in list_images(ROOT / "test_imgs")]
    pictures = [cv2.resize(originals[i % len(originals)], (side, side)) for i in range(photos)]
    colour = np.stack(pictures).transpose(0, 3, 1, 2)
    reference = np.zeros((photos, 1, side, side), np.uint8)
    network = ResHalfCodec(device="cpu").network
    add_prior(PhotoSet.from_arrays(colour[:1], reference[:1]), network, ROOT)  # compile first
    start = time.perf_counter()
    add_prior(PhotoSet.from_arrays(colour, reference), network, ROOT)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, nargs="+", default=sorted({1, available_cores()}))
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(seconds(arguments.photos, arguments.side))
        return
    usable, first = sorted(os.sched_getaffinity(0)), None
    print(f"load {os.getloadavg()[0]:.1f}\n{'cores':>5}{'seconds':>10}{'photos/s':>10}{'ratio':>8}")
    for cores in arguments.cores:
        if cores > len(usable):
            parser.error(f"--cores {cores}: this process may use {len(usable)}")
        command = [sys.executable, __file__, "--measure", f"--photos={arguments.photos}", f"--side={arguments.side}"]
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        bound = subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            env=environment,
            preexec_fn=lambda count=cores: os.sched_setaffinity(0, usable[:count]),
        )
        taken = float(bound.stdout.splitlines()[-1])
        first = first or taken
        print(f"{cores:5}{taken:10.2f}{arguments.photos / taken:10.2f}{first / taken:8.2f}", flush=True)


if __name__ == "__main__":
    main()
