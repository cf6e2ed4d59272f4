"""Descreening of pages with text and line art beside screened pictures.

    python bench/descreen_pages.py [--pages 8] [--photos test_imgs] [--lines] [--save_dir DIR]

Simulated pages (descreen/pages.py), one of four without pictures; with --lines the pictures have line screens instead
of dots. Each row is a method, on the regions that descreen/regions.py finds, or on the whole scan as if it were one
picture:
    unscreened  PSNR of text, line art and paper to the scan, in dB: what carries no screen should not change
    text        the same around letters and lines only
    pictures    PSNR of the pictures to the photographs
    edges       the same for their outer 16 pixels
The last lines give the share of the pictures' area outside the regions, that of the other area inside, and the seconds
per megapixel of finding them. --save_dir writes scans, masks and restorations.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from descreen.command import IDEAL_INKS, load_trained  # noqa: E402
from descreen.config import ScreensConfig  # noqa: E402
from descreen.engine import Restorer, baseline_restorer  # noqa: E402
from descreen.pages import Page, draw_page  # noqa: E402
from descreen.regions import Region, coverage, find_regions  # noqa: E402
from descreen.screen_finder import find_screens  # noqa: E402
from images.files import read_image, write_image  # noqa: E402
from images.listing import list_images  # noqa: E402

SCREENS = ScreensConfig(line=0.0, fm=0.0, gray=0.2, clean=0.0, pitch_min=2.6, pitch_max=6.0)
SIZE, EDGE, NEAR_INK = (1400, 1000), 16, 3
WITHOUT_PICTURES = 4  # every fourth page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=8)
    parser.add_argument("--photos", type=Path, default=ROOT / "test_imgs")
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--save_dir", type=Path)
    arguments = parser.parse_args()
    if arguments.save_dir:
        arguments.save_dir.mkdir(parents=True, exist_ok=True)
    screens = SCREENS.model_copy(update={"am": 0.0, "line": 1.0}) if arguments.lines else SCREENS
    photos = [read_image(path).bgr for path in list_images(arguments.photos)]
    network = load_trained(IDEAL_INKS).restore
    bilateral = baseline_restorer("bilateral", 1.0, "gaussian")
    rows: dict[str, tuple[Restorer, bool]] = {
        "bilateral, whole scan": (bilateral, True),
        "network, whole scan": (network, True),
        "bilateral": (bilateral, False),
        "network": (network, False),
    }
    found = {name: [] for name in rows}
    missed, extra, seconds = [], [], []
    for number in range(arguments.pages):
        random = np.random.default_rng(number)
        count = 0 if number % WITHOUT_PICTURES == WITHOUT_PICTURES - 1 else random.integers(1, 5)
        page = draw_page([photos[i] for i in random.permutation(len(photos))[:count]], SIZE, screens, random)
        start = time.perf_counter()
        regions = find_regions(page.scan)
        seconds.append((time.perf_counter() - start) / (np.prod(SIZE) / 1e6))
        mask, pictures = coverage(regions, SIZE) > 127, picture_mask(page)
        if count:
            missed.append((pictures & ~mask).sum() / pictures.sum())
        extra.append((mask & ~pictures).sum() / (~pictures).sum())
        for name, (restore, whole) in rows.items():
            restored = restore(page.scan, [whole_region(page.scan)] if whole else regions)
            found[name].append(score(page, restored))
            if arguments.save_dir:
                write_image(arguments.save_dir / f"{number}_{name.replace(', ', '_').replace(' ', '_')}.png", restored)
        if arguments.save_dir:
            write_image(arguments.save_dir / f"{number}_scan.png", page.scan)
            write_image(arguments.save_dir / f"{number}_mask.png", np.dstack([mask.astype(np.uint8) * 255] * 3))
    print(f"{'':24}{'unscreened':>12}{'text':>8}{'pictures':>10}{'edges':>8}")
    for name, scores in found.items():
        print(
            f"{name:24}"
            + "".join(f"{value:{width}.2f}" for value, width in zip(means(scores), (12, 8, 10, 8), strict=True))
        )
    print(f"pictures outside the regions {np.mean(missed):.1%}, other area inside {np.mean(extra):.1%}")
    print(f"finding regions: {np.median(seconds):.2f} seconds per megapixel")


def whole_region(scan: np.ndarray) -> Region:
    """The whole scan as one picture."""
    height, width = scan.shape[:2]
    return Region((slice(0, height), slice(0, width)), np.full((height, width), 255, np.uint8), find_screens(scan))


def picture_mask(page: Page) -> np.ndarray:
    mask = np.zeros(page.scan.shape[:2], bool)
    for cell in page.pictures:
        mask[cell] = True
    return mask


def score(page: Page, restored: np.ndarray) -> tuple[float, ...]:
    """Mean squared errors: unscreened, text, pictures, edges; NaN without pictures."""
    pictures = picture_mask(page)
    ink = cv2.dilate((page.truth.min(axis=2) < 200).astype(np.uint8), np.ones((2 * NEAR_INK + 1,) * 2)) > 0
    inner = cv2.erode(pictures.astype(np.uint8), np.ones((2 * EDGE + 1,) * 2), borderValue=0) > 0
    change = np.square(restored.astype(np.float64) - page.scan).mean(axis=2)
    error = np.square(restored.astype(np.float64) - page.truth).mean(axis=2)
    parts = ((change, ~pictures), (change, ~pictures & ink), (error, pictures), (error, pictures & ~inner))
    return tuple(float(each[where].mean()) if where.any() else np.nan for each, where in parts)


def means(scores: list[tuple[float, ...]]) -> np.ndarray:
    """Mean PSNR over the pages, in dB; 99 where nothing changed."""
    errors = np.maximum(np.array(scores), 255**2 / 10**9.9)
    return np.nanmean(10 * np.log10(255**2 / errors), axis=0)


if __name__ == "__main__":
    main()
