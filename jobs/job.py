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

Outputs = dict[str, np.ndarray]
"""Output pictures by folder: uint8 (H, W, 3) BGR, or a halftone (H, W)."""


class Loaded(NamedTuple):
    """An input: SHA-256 of the file, picture, uint8 (H, W, 3) BGR or a halftone (H, W), and alpha channel."""

    digest: str
    picture: np.ndarray
    alpha: np.ndarray | None


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
    def convert(self, picture: np.ndarray) -> tuple[Outputs, str]:
        """The outputs of an input picture, and a remark for the table."""

    @abstractmethod
    def columns(self, result: FileResult | None) -> str:
        """The job's own columns of a line of the table, behind name, size and seconds; None: their headings."""

    def load(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """The input picture and its alpha channel. Raises UserError for a bad file."""
        return read_image(path, max_pixels=self.max_pixels)

    def scores(self, picture: np.ndarray, outputs: Outputs) -> dict[str, float] | None:
        """Quality measures of the outputs; None where there is no reference."""
        return None

    def read(self, task: Task) -> Loaded | None:
        """The task's input, or None when it is to be left out. Raises UserError for a bad file."""
        found = digest(task.path)
        if self.skip_existing and self.manifest.covers(task.key, found):
            return None
        return Loaded(found, *self.load(task.path))

    def compute(self, task: Task, loaded: Loaded) -> tuple[Loaded, Outputs, FileResult]:
        """The outputs. Raises UserError when memory does not suffice or a network's output is not finite."""
        start = time.perf_counter()
        with name_errors(task.path):
            outputs, note = self.convert(loaded.picture)
        return loaded, outputs, FileResult(loaded.picture.shape[:2], time.perf_counter() - start, None, note)

    def write(self, task: Task, computed: tuple[Loaded, Outputs, FileResult]) -> FileResult:
        """Write the outputs, then add them to the manifest. Raises UserError when they cannot be written."""
        loaded, outputs, result = computed
        paths = {self.manifest.folder / folder / task.name: output for folder, output in outputs.items()}
        with name_errors(task.path):
            for path, output in paths.items():
                if output.ndim == 2:
                    write_halftone(with_folder(path), output)
                else:
                    write_image(with_folder(path), output, loaded.alpha)
        result = result._replace(scores=self.scores(loaded.picture, outputs))
        self.manifest.add(task.key, loaded.digest, list(paths), result)
        return result

    def is_large(self, loaded: Loaded) -> bool:
        """Whether a picture is processed alone."""
        return loaded.picture.shape[0] * loaded.picture.shape[1] > LARGE

    def overview_row(self, task: Task) -> list[np.ndarray]:
        """The middle of the input and of each output, as read from their files. Raises UserError as `load` does."""
        outputs = (self.manifest.folder / folder / task.name for folder in self.folders)
        return [middle(self.load(task.path)[0]), *(middle(read_image(path).bgr) for path in outputs)]
