"""One folder of photographs or halftones in, one folder of results out: what is read, made and written for each."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from images.files import read_halftone, read_image, write_halftone, write_image
from images.overview import middle
from jobs.manifest import Manifest, digest
from jobs.tasks import Task, with_folder
from metrics import banded as scores
from reshalf.codec import ResHalfCodec
from utils.errors import name_errors

HALFTONES, RESTORED, OVERVIEW = "halftone", "restored", "overview.png"
LARGE = 16_000_000  # pixels from which a photograph has the memory to itself


class Pictures(NamedTuple):
    """What a task holds in memory: the input's SHA-256, the pictures, (H, W[, 3]) uint8, the seconds they took, and a
    remark for the report."""

    digest: str
    halftone: np.ndarray | None
    photo: np.ndarray | None = None
    alpha: np.ndarray | None = None
    restored: np.ndarray | None = None
    seconds: float = 0.0
    note: str = ""

    @property
    def size(self) -> tuple[int, int]:
        return (self.photo if self.halftone is None else self.halftone).shape[:2]


class Done(NamedTuple):
    """What the report says of a finished task; the pictures are cut to what the overview shows."""

    size: tuple[int, int]
    seconds: float
    scores: tuple[float, float, float] | None
    pictures: list[np.ndarray]
    note: str = ""


@dataclass
class FolderJob:
    """Reads, computes and writes the tasks of a folder; the three run beside one another (utils/overlap.py).

    out            gets halftone/NAME.png and restored/NAME.png, or with `decoding` the latter alone
    skip_existing  leave out what the manifest says is done
    force          with `decoding`: also restore images that are no halftones
    """

    engine: ResHalfCodec
    out: Path
    manifest: Manifest
    decoding: bool
    force: bool
    max_pixels: int
    skip_existing: bool

    def read(self, task: Task) -> Pictures | None:
        """The task's input, or None when its outputs are there already. Raises UserError for a bad file."""
        found = digest(task.path)
        if self.skip_existing and self.manifest.covers(task.name.as_posix(), found):
            return None
        if self.decoding:
            return Pictures(found, read_halftone(task.path, self.force, max_pixels=self.max_pixels))
        photo = read_image(task.path, max_pixels=self.max_pixels)
        return Pictures(found, None, photo.bgr, photo.alpha)

    def compute(self, task: Task, pictures: Pictures) -> Pictures:
        """Add what is missing. Raises UserError when the memory does not suffice or a network's weights are broken."""
        start = time.perf_counter()
        with name_errors(task.path):
            made = self.make(pictures)
        return made._replace(seconds=time.perf_counter() - start)

    def make(self, pictures: Pictures) -> Pictures:
        """The halftone, unless it was read, and what is restored from it."""
        halftone = self.engine.halftone(pictures.photo) if pictures.halftone is None else pictures.halftone
        return pictures._replace(halftone=halftone, restored=self.engine.restore(halftone))

    def write(self, task: Task, pictures: Pictures) -> Done:
        """Write the outputs, then note them in the manifest. Raises UserError when they cannot be written."""
        with name_errors(task.path):
            outputs = self.save(task, pictures)
        self.manifest.add(task.name.as_posix(), pictures.digest, outputs)
        shown = (pictures.photo, pictures.halftone, pictures.restored)
        cells = [middle(picture) for picture in shown if picture is not None]
        return Done(pictures.size, pictures.seconds, self.scores(pictures), cells, pictures.note)

    def save(self, task: Task, pictures: Pictures) -> list[Path]:
        """Write the outputs; their paths."""
        outputs = [self.out / RESTORED / task.name]
        if not self.decoding:
            outputs.append(self.out / HALFTONES / task.name)
            write_halftone(with_folder(outputs[1]), pictures.halftone)
        write_image(with_folder(outputs[0]), pictures.restored, pictures.alpha)
        return outputs

    def scores(self, pictures: Pictures) -> tuple[float, float, float] | None:
        """PSNR in dB, SSIM and tone PSNR in dB against the photograph; NaN where it is too small or the memory is."""
        photo, halftone, restored = pictures.photo, pictures.halftone, pictures.restored
        if photo is None:
            return None
        nan = float("nan")
        try:
            if min(halftone.shape) < scores.SIZE:
                return scores.psnr(photo, restored), nan, nan
            return scores.psnr(photo, restored), scores.ssim(photo, restored), scores.tone_psnr(halftone, photo)
        except MemoryError:  # the pictures are written all the same
            return nan, nan, nan


def is_large(pictures: Pictures) -> bool:
    """Whether a photograph should have the memory to itself."""
    return pictures.size[0] * pictures.size[1] > LARGE
