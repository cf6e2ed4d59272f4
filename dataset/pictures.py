"""The pictures of the training set: squares of photographs and constant colours, each with its reference halftone."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from halftone.variable_diffusion import ostromoukhov
from images.files import read_image, write_halftone, write_image
from utils.errors import UserError
from utils.files import atomic_write

COLOUR, REFERENCE = "target_c", "raw_ov"


class Item(NamedTuple):
    """One picture to make, `folder`/target_c/`name` and `folder`/raw_ov/`name`, from a file or a BGR colour."""

    folder: str
    name: str
    source: Path | tuple[int, ...]

    @property
    def colour(self) -> str:
        return f"{self.folder}/{COLOUR}/{self.name}"

    @property
    def reference(self) -> str:
        return f"{self.folder}/{REFERENCE}/{self.name}"

    def record(self, size: int) -> str:
        """What the picture depends on; a picture whose record changed is made anew."""
        if isinstance(self.source, tuple):
            return f"{size} {self.source}"
        try:
            stat = self.source.stat()
        except OSError:  # it will be skipped, with the reason, when it is read
            return f"{size} {self.source}"
        return f"{size} {self.source} {stat.st_size} {stat.st_mtime_ns}"

    def is_made(self, out: Path) -> bool:
        return (out / self.colour).is_file() and (out / self.reference).is_file()


def special_colours(count: int, seed: int) -> list[tuple[int, ...]]:
    """`count` BGR colours: about a sixth along the gray axis, a grid through the RGB cube, what is left at random.

    1587 are all 256 grays and 11 x 11 x 11 colours. The same `count` and `seed` give the same colours.
    """
    grays = max(1, round(count * 256 / 1587))
    side = round(np.cbrt(count - grays))
    side -= side**3 > count - grays
    levels = np.rint(np.linspace(0, 255, side)).astype(int)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    axis = np.repeat(np.rint(np.linspace(0, 255, grays)).astype(int)[:, None], 3, axis=1)
    rest = np.random.RandomState(seed % 2**32).randint(0, 256, (count - grays - side**3, 3))
    return [tuple(colour) for colour in np.concatenate([axis, grid, rest]).tolist()]


def centre_square(bgr: np.ndarray, size: int) -> np.ndarray:
    """The largest centred square of uint8 (H, W, 3), resized to (size, size, 3)."""
    height, width = bgr.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = bgr[top : top + side, left : left + side]
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)


def make(item: Item, out: Path, size: int) -> str | None:
    """Write the picture and its reference; return why its source was skipped. Raises UserError when it cannot write."""
    if isinstance(item.source, tuple):
        colour = np.full((size, size, 3), item.source, np.uint8)
    else:
        try:
            colour = centre_square(read_image(item.source).bgr, size)
        except UserError as error:
            return str(error)
    write_image(out / item.colour, colour)
    write_halftone(out / item.reference, ostromoukhov(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)))
    return None


def make_all(items: list[Item], out: Path, size: int, workers: int, sources: Path) -> list[str]:
    """Make in `workers` threads what an earlier run, by its records in `sources`, did not.

    Returns why sources were skipped. Raises UserError when a picture cannot be written.
    """
    for folder in {(out / path).parent for item in items for path in (item.colour, item.reference)}:
        folder.mkdir(parents=True, exist_ok=True)
    forget_changed(items, out, size, sources)
    missing = [item for item in items if not item.is_made(out)]
    skipped = []
    bar = tqdm(total=len(items), initial=len(items) - len(missing), unit="picture", disable=None)
    with bar, ThreadPoolExecutor(workers) as pool:
        try:
            for reason in pool.map(lambda item: make(item, out, size), missing):
                bar.update()
                if reason:
                    skipped.append(reason)
                    tqdm.write(f"skipped: {reason}", file=sys.stderr)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return skipped


def forget_changed(items: list[Item], out: Path, size: int, sources: Path) -> None:
    """Remove pictures that were made from something else, or nobody knows from what, then write the new records."""
    try:
        known = json.loads(sources.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    records = {item.colour: item.record(size) for item in items}
    for item in items:
        if known.get(item.colour) != records[item.colour]:
            (out / item.colour).unlink(missing_ok=True)
            (out / item.reference).unlink(missing_ok=True)
    write_json(sources, records)


def write_json(path: Path, content: object) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
