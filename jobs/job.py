"""Base class of the jobs of both applications: reads inputs, times the computation, writes outputs and the manifest."""

import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from images.files import read_image, write_halftone, write_image
from images.overview import middle
from jobs.manifest import FileResult, Manifest
from jobs.tasks import Task
from utils.errors import name_errors, printable
from utils.files import checksum_or_empty, make_parent

LARGE = 16_000_000
"""Pixels above which an image is processed alone, without reading ahead, to save memory."""

Outputs = dict[str, np.ndarray]
"""Output images by folder: uint8 (H, W, 3) BGR, or a halftone (H, W)."""


class Input(NamedTuple):
    """An input: image, uint8 (H, W, 3) BGR or a halftone (H, W), alpha channel, and lines to print about it."""

    image: np.ndarray
    alpha: np.ndarray | None = None
    remarks: tuple[str, ...] = ()


class Loaded(NamedTuple):
    """The SHA-256 of an input's file, and what was read from it."""

    checksum: str
    image: np.ndarray
    alpha: np.ndarray | None
    remarks: tuple[str, ...]


@dataclass(kw_only=True)
class Job(ABC):
    """Reads, computes and writes the tasks of a folder; the three methods run in parallel (jobs/pipeline.py).

    manifest       of the output folder
    folders        subfolders of the output folder, in the order in which the overview shows them
    title          label of the progress bar
    max_pixels     larger inputs are refused
    skip_existing  skip tasks that an earlier run has finished with the same settings
    """

    manifest: Manifest
    folders: tuple[str, ...]
    title: str
    max_pixels: int
    skip_existing: bool

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

    def load(self, path: Path) -> Input:
        """The input. Raises UserError for a bad file."""
        return Input(*read_image(path, max_pixels=self.max_pixels))

    def scores(self, image: np.ndarray, outputs: Outputs) -> dict[str, float] | None:
        """Quality measures of the outputs; None where there is no reference."""
        return None

    def read(self, task: Task) -> Loaded | None:
        """The task's input, or None when it is skipped. Raises UserError for a bad file."""
        checksum = checksum_or_empty(task.path)
        if self.skip_existing and self.manifest.covers(task.key, checksum):
            return None
        return Loaded(checksum, *self.load(task.path))

    def compute(self, task: Task, loaded: Loaded) -> tuple[Loaded, Outputs, FileResult]:
        """The outputs. Raises UserError when memory does not suffice or a network's output is not finite."""
        for remark in loaded.remarks:
            tqdm.write(printable(f"{task.path}: {remark}"), file=sys.stderr)
        start = time.perf_counter()
        with name_errors(task.path):
            outputs, note = self.convert(loaded.image)
        note = "; ".join((*loaded.remarks, note)) if note else "; ".join(loaded.remarks)
        return loaded, outputs, FileResult(loaded.image.shape[:2], time.perf_counter() - start, None, note)

    def write(self, task: Task, computed: tuple[Loaded, Outputs, FileResult]) -> FileResult:
        """Write the outputs, then add them to the manifest. Raises UserError when they cannot be written."""
        loaded, outputs, result = computed
        paths = {self.manifest.folder / folder / task.name: output for folder, output in outputs.items()}
        with name_errors(task.path):
            for path, output in paths.items():
                if output.ndim == 2:
                    write_halftone(make_parent(path), output)
                else:
                    write_image(make_parent(path), output, loaded.alpha)
        result = result._replace(scores=self.scores(loaded.image, outputs))
        self.manifest.add(task.key, loaded.checksum, list(paths), result)
        return result

    def is_large(self, loaded: Loaded) -> bool:
        """Whether an image is processed alone."""
        return loaded.image.shape[0] * loaded.image.shape[1] > LARGE

    def overview_row(self, task: Task) -> list[np.ndarray]:
        """The middle of the input and of each output, as read from their files. Raises UserError as `load` does."""
        outputs = (self.manifest.folder / folder / task.name for folder in self.folders)
        return [middle(self.load(task.path)[0]), *(middle(read_image(path).bgr) for path in outputs)]
