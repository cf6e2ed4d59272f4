"""Training pairs: a colour image (a photograph's centre square or a constant colour) and its reference halftone."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dataset.prefetch import prefetch
from halftone.variable_diffusion import ostromoukhov
from images.files import centre_crop, read_image, write_halftone, write_image
from images.transparency import on_background
from utils.command import warn
from utils.errors import UserError
from utils.files import write_json
from utils.progress import print_above, progress

COLOUR, REFERENCE = "target_c", "raw_ov"


class Pair(NamedTuple):
    """The files `folder`/target_c/`name` and `folder`/raw_ov/`name`, made from an image file or a BGR colour."""

    folder: str
    name: str
    source: Path | tuple[int, ...]

    @property
    def colour(self) -> str:
        return f"{self.folder}/{COLOUR}/{self.name}"

    @property
    def reference(self) -> str:
        return f"{self.folder}/{REFERENCE}/{self.name}"

    def fingerprint(self, size: int) -> str:
        """Size in pixels, source and, for a file, its length and modification time: a change means a new pair."""
        if isinstance(self.source, tuple):
            return f"{size} {self.source}"
        try:
            stat = self.source.stat()
        except OSError:  # reading it fails later and reports the reason
            return f"{size} {self.source}"
        return f"{size} {self.source} {stat.st_size} {stat.st_mtime_ns}"

    def exists(self, out: Path) -> bool:
        return (out / self.colour).is_file() and (out / self.reference).is_file()


def special_colours(count: int, seed: int) -> list[tuple[int, ...]]:
    """`count` BGR colours, 8 bits: about a sixth on the gray axis, a cubic grid in RGB, the rest random.

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
    square = centre_crop(bgr, min(bgr.shape[:2]))
    larger = len(square) > size
    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if larger else cv2.INTER_CUBIC)


def make_pair(pair: Pair, out: Path, size: int) -> str | None:
    """Write the colour image and its reference; returns the reason when the source cannot be read, else None.

    Raises UserError when a file cannot be written.
    """
    if isinstance(pair.source, tuple):
        colour = np.full((size, size, 3), pair.source, np.uint8)
    else:
        try:
            image = read_image(pair.source)
            warn(pair.source, image.remarks)
            colour = centre_square(on_background(image.bgr, image.alpha), size)
        except UserError as error:
            return str(error)
    write_image(out / pair.colour, colour)
    write_halftone(out / pair.reference, ostromoukhov(cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)))
    return None


def make_pairs(pairs: Sequence[Pair], out: Path, size: int, workers: int, sources: Path) -> list[str]:
    """Make the pairs that are missing or whose fingerprint in the file `sources` differs, in `workers` threads.

    Returns the reasons why sources were skipped. Raises UserError when a file cannot be written.
    """
    for folder in {(out / path).parent for pair in pairs for path in (pair.colour, pair.reference)}:
        folder.mkdir(parents=True, exist_ok=True)
    remove_changed(pairs, out, size, sources)
    missing = [pair for pair in pairs if not pair.exists(out)]
    skipped = []
    with progress(total=len(pairs), initial=len(pairs) - len(missing), unit="image") as bar:
        for reason in prefetch((partial(make_pair, pair, out, size) for pair in missing), workers, 4 * workers):
            bar.update()
            if reason:
                skipped.append(reason)
                print_above(f"skipped: {reason}")
    return skipped


def remove_changed(pairs: Sequence[Pair], out: Path, size: int, sources: Path) -> None:
    """Remove pairs whose fingerprint in `sources` differs or is missing, then write the new fingerprints."""
    try:
        before = json.loads(sources.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    now = {pair.colour: pair.fingerprint(size) for pair in pairs}
    for pair in pairs:
        if before.get(pair.colour) != now[pair.colour]:
            (out / pair.colour).unlink(missing_ok=True)
            (out / pair.reference).unlink(missing_ok=True)
    write_json(sources, now)
