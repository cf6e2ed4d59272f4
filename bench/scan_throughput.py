"""Scans per second for the training of descreening, by the number of processes that make them.

    python bench/scan_throughput.py [--workers 1 2 4 8] [--seconds 10]

Crops of 128 pixels with screen-phase maps, as in scripts/descreen_coarse.json, of random images. A GPU needs a few
hundred per second.
"""

import argparse
import sys
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from halftone.threads import available_cores  # noqa: E402  sets the threads before torch loads

# isort: split
import numpy as np  # noqa: E402

from dataset.batches import BatchStream  # noqa: E402
from dataset.photo_set import PhotoSet  # noqa: E402
from descreen.config import DescreenConfig  # noqa: E402
from descreen.stream import ScanStream  # noqa: E402
from training.config import load_config  # noqa: E402

PHOTOS, SIDE = 800, 160


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=sorted({1, available_cores()}))
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of the measurement per row")
    arguments = parser.parse_args()
    config = load_config(DescreenConfig, ROOT / "scripts/descreen_coarse.json")
    colour = np.random.default_rng(0).integers(0, 256, (PHOTOS, 3, SIDE, SIDE), np.uint8)
    photos = PhotoSet.from_arrays(colour, colour[:, :1])
    print(f"{'workers':>7}{'scans/s':>10}")
    for workers in arguments.workers:
        data = config.data_loader
        stream = BatchStream(
            photos, batch_size=data.batch_size, crop_size=data.crop_size, flip=True, seed=0, num_workers=workers
        )
        print(f"{workers:>7}{rate(ScanStream(stream, config.screens, waves='exact'), arguments.seconds):10.0f}")


def rate(stream: ScanStream, seconds: float) -> float:
    """Scans per second, once the first have come from every worker."""
    scans, epoch, start = 0, 0, None
    while start is None or time.perf_counter() - start < seconds:
        with closing(stream.batches(epoch)) as batches:
            for step, batch in enumerate(batches):
                if epoch == 0 and step == 2 * stream.photos.num_workers:
                    start, scans = time.perf_counter(), 0
                scans += len(batch["scan"])
                if start is not None and time.perf_counter() - start >= seconds:
                    break
        epoch += 1
    return scans / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
