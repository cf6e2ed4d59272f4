"""Base class of the jobs of both applications: reads inputs, times the computation, writes outputs and the manifest."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from images.files import read_image, write_halftone, write_image
from images.overview import middle
from images.resolution import Resolution
from images.transparency import WHITE, off_background, on_background
from jobs.manifest import FileResult, Manifest
from jobs.tasks import RESTORED, Task
from utils.command import warn
from utils.errors import name_errors
from utils.files import checksum_or_empty, make_parent

LARGE = 16_000_000
"""Pixels above which an image is processed alone, without reading ahead, to save memory."""

Outputs = dict[str, np.ndarray]
"""Output images by folder: uint8 (H, W, 3) BGR, or a halftone (H, W)."""


class Loaded(NamedTuple):
    """An input: image, uint8 (H, W, 3) BGR on the background or a halftone (H, W), and the SHA-256 of its file.

    alpha, resolution and remarks are those of `images.files.Image`.
    """

    image: np.ndarray
    alpha: np.ndarray | None = None
    resolution: Resolution | None = None
    remarks: tuple[str, ...] = ()
    checksum: str = ""


@dataclass(kw_only=True)
class Job(ABC):
    """Reads, computes and writes the tasks of a folder; the three methods run in parallel (jobs/pipeline.py).

    manifest       of the output folder
    folders        subfolders of the output folder, in the order in which the overview shows them, and the suffix of
                   the files in each
    title          label of the progress bar
    max_pixels     larger inputs are refused
    skip_existing  skip tasks that an earlier run has finished with the same settings
    background     BGR colour behind transparent photographs
    """

    manifest: Manifest
    folders: Mapping[str, str]
    title: str
    max_pixels: int
    skip_existing: bool
    background: tuple[int, int, int] = WHITE

    @abstractmethod
    def convert(self, image: np.ndarray) -> tuple[Outputs, str]:
        """The outputs of an input image, and a remark for the table."""

    @property
    @abstractmethod
    def heading(self) -> str:
        """Headings of the job's own columns of the table, after name, size and seconds."""

    @abstractmethod
    def columns(self, result: FileResult) -> str:
        """The job's own columns of a line of the table."""

    def load(self, path: Path) -> Loaded:
        """The input, a photograph on the background. Raises UserError for a bad file."""
        photo = read_image(path, max_pixels=self.max_pixels)
        return Loaded(*photo)._replace(image=on_background(photo.bgr, photo.alpha, self.background))

    def scores(self, image: np.ndarray, outputs: Outputs) -> dict[str, float] | None:
        """Quality measures of the outputs; None where there is no reference."""
        return None

    def read(self, task: Task) -> Loaded | None:
        """The task's input, or None when it is skipped; remarks are printed. Raises UserError for a bad file."""
        checksum = checksum_or_empty(task.path)
        if self.skip_existing and self.is_finished(task, checksum):
            return None
        loaded = self.load(task.path)
        warn(task.path, loaded.remarks)
        return loaded._replace(checksum=checksum)

    def is_finished(self, task: Task, checksum: str) -> bool:
        """Whether an earlier run has finished the task with the same settings."""
        return self.manifest.covers(task.key, checksum)

    def compute(self, task: Task, loaded: Loaded) -> tuple[Loaded, Outputs, FileResult]:
        """The outputs. Raises UserError when memory does not suffice or a network's output is not finite."""
        start = time.perf_counter()
        with name_errors(task.path):
            outputs, note = self.convert(loaded.image)
        note = "; ".join(filter(None, (*loaded.remarks, note)))
        return loaded, outputs, FileResult(loaded.image.shape[:2], time.perf_counter() - start, None, note)

    def write(self, task: Task, computed: tuple[Loaded, Outputs, FileResult]) -> FileResult:
        """Write the outputs, then add them to the manifest. Raises UserError when they cannot be written.

        All have the resolution of the input, and the restored photograph its transparency.
        """
        loaded, outputs, result = computed
        paths = {folder: self._path(folder, task) for folder in outputs}
        with name_errors(task.path):
            for folder, output in outputs.items():
                path, alpha = make_parent(paths[folder]), loaded.alpha if folder == RESTORED else None
                if output.ndim == 2:
                    write_halftone(path, output, loaded.resolution)
                else:
                    write_image(path, off_background(output, alpha, self.background), alpha, loaded.resolution)
        result = result._replace(scores=self.scores(loaded.image, outputs))
        self.manifest.add(task.key, loaded.checksum, list(paths.values()), result)
        return result

    def is_large(self, loaded: Loaded) -> bool:
        """Whether an image is processed alone."""
        return loaded.image.shape[0] * loaded.image.shape[1] > LARGE

    def overview_row(self, task: Task) -> list[np.ndarray]:
        """The middle of the input and of each output, as read from their files. Raises UserError as `load` does."""
        outputs = (read_image(self._path(folder, task)) for folder in self.folders)
        shown = [on_background(output.bgr, output.alpha, self.background) for output in outputs]
        return [middle(self.load(task.path).image), *map(middle, shown)]

    def _path(self, folder: str, task: Task) -> Path:
        return self.manifest.folder / folder / task.name.with_suffix(self.folders[folder])
