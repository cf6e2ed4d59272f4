"""What the jobs of both applications share: reading with a checksum, timing, writing with a line in the manifest."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from images.files import read_image, write_halftone, write_image
from images.overview import middle
from jobs.manifest import FileResult, Manifest, digest
from jobs.tasks import Task, with_folder
from utils.errors import name_errors

LARGE = 16_000_000
"""Pixels above which a picture is processed alone, without reading ahead, to save memory."""


class Loaded(NamedTuple):
    """An input: SHA-256 of the file, the picture, uint8 (H, W, 3) BGR or a halftone (H, W), and its alpha channel."""

    digest: str
    picture: np.ndarray
    alpha: np.ndarray | None


class Computed(NamedTuple):
    """The outputs of an input, pictures by folder, and the seconds they took."""

    input: Loaded
    outputs: dict[str, np.ndarray]
    note: str
    seconds: float


@dataclass(kw_only=True)
class Job(ABC):
    """Reads, computes and writes the tasks of a folder; the three methods run in parallel (jobs/pipeline.py).

    manifest       of the output folder
    folders        subfolders of the output folder, in the order in which the overview shows them
    title          label of the progress bar
    max_pixels     larger inputs are refused
    skip_existing  leave out tasks that the manifest covers
    """

    manifest: Manifest
    folders: tuple[str, ...]
    title: str
    max_pixels: int
    skip_existing: bool

    @abstractmethod
    def convert(self, picture: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
        """The outputs of an input picture: uint8 by folder, (H, W, 3) BGR or a halftone (H, W); and a note."""

    @abstractmethod
    def columns(self, result: FileResult | None) -> str:
        """The job's own columns of a line of the table, behind name, size and seconds; None: their headings."""

    def load(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """The input picture and its alpha channel. Raises UserError for a bad file."""
        return read_image(path, max_pixels=self.max_pixels)

    def scores(self, picture: np.ndarray, outputs: dict[str, np.ndarray]) -> dict[str, float] | None:
        """Quality measures of the outputs; None where there is no reference."""
        return None

    def read(self, task: Task) -> Loaded | None:
        """The task's input, or None when it is to be left out. Raises UserError for a bad file."""
        found = digest(task.path)
        if self.skip_existing and self.manifest.covers(task.name.as_posix(), found):
            return None
        return Loaded(found, *self.load(task.path))

    def compute(self, task: Task, loaded: Loaded) -> Computed:
        """The outputs. Raises UserError when there is not enough memory or a network's output is not finite."""
        start = time.perf_counter()
        with name_errors(task.path):
            outputs, note = self.convert(loaded.picture)
        return Computed(loaded, outputs, note, time.perf_counter() - start)

    def write(self, task: Task, computed: Computed) -> FileResult:
        """Write the outputs, then add them to the manifest. Raises UserError when they cannot be written."""
        checksum, picture, alpha = computed.input
        paths = [self.manifest.folder / folder / task.name for folder in computed.outputs]
        with name_errors(task.path):
            for path, output in zip(paths, computed.outputs.values(), strict=True):
                if output.ndim == 2:
                    write_halftone(with_folder(path), output)
                else:
                    write_image(with_folder(path), output, alpha)
            scores = self.scores(picture, computed.outputs)
        result = FileResult(picture.shape[:2], computed.seconds, scores, computed.note)
        self.manifest.add(task.name.as_posix(), checksum, paths, result)
        return result

    def is_large(self, loaded: Loaded) -> bool:
        """Whether a picture is processed alone."""
        return loaded.picture.shape[0] * loaded.picture.shape[1] > LARGE

    def overview_row(self, task: Task) -> list[np.ndarray]:
        """The middle of the input and of each output, as read from their files. Raises UserError as `load` does."""
        outputs = (self.manifest.folder / folder / task.name for folder in self.folders)
        return [middle(self.load(task.path)[0]), *(middle(read_image(path).bgr) for path in outputs)]
