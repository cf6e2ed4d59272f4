"""Batches of scans with their photographs, a pure function of (seed, epoch, step) as in dataset.batches."""

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from typing import Literal

import cv2
import numpy as np
import torch
from skimage.feature import canny
from torch import Tensor

from dataset.batches import BatchStream
from dataset.prefetch import prefetch
from descreen.config import ScreensConfig
from descreen.inks import append_belief, draw_belief
from descreen.printing import Printing, draw_printing, ground_truth, print_and_scan
from descreen.screen_finder import find_screens
from descreen.waves import EstimatedWaves, concat_waves, exact_waves
from halftone.inks import INKS
from halftone.threads import available_cores
from utils.pixels import to_tensor, to_uint8
from utils.processes import end_with_parent

_SCANS = 7  # RNG stream id, none of those of dataset.batches


@dataclass(frozen=True)
class ScanMaker:
    """Prints and scans the photographs of a batch; can be sent to another process.

    screens, rotate, edges, waves, inks  as for ScanStream
    seed                                 of the batches
    """

    screens: ScreensConfig
    rotate: bool
    edges: bool
    waves: Literal["exact", "estimated"] | None
    inks: bool
    seed: int

    def __call__(self, photos: np.ndarray, places: np.ndarray, epoch: int, step: int) -> dict[str, np.ndarray]:
        """Photographs (N, h, w, 3) uint8 at `places` of the joint batch of a step → the arrays of the batch."""
        samples = []
        for place, photo in zip(places, photos, strict=True):
            key = [number % 2**64 for number in (self.seed, _SCANS, epoch, step, int(place))]
            random = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
            samples.append(self._sample(photo, random))
        return {name: torch.cat([sample[name] for sample in samples]).numpy() for name in samples[0]}

    def _sample(self, bgr: np.ndarray, random: np.random.Generator) -> dict[str, Tensor]:
        if self.rotate and self.screens.rotate:
            bgr = _rotate(bgr, random.uniform(-self.screens.rotate, self.screens.rotate))
        printing = draw_printing(self.screens, random)
        target = ground_truth(bgr, printing)
        scan = print_and_scan(bgr, printing)
        sample = {"scan": to_tensor(scan), "colour": to_tensor(target)}
        if self.waves:
            sample["scan"] = concat_waves(sample["scan"], self._waves_of(scan, printing, random))
        if self.inks:
            sample["scan"] = append_belief(sample["scan"], draw_belief(printing, random))
        if self.edges:
            sample["edges"] = torch.from_numpy(edge_map(target))[None, None].float()
        return sample

    def _waves_of(self, scan: np.ndarray, printing: Printing, random: np.random.Generator) -> np.ndarray:
        if self.waves == "estimated":
            return EstimatedWaves(scan, find_screens(scan)).crop((slice(0, scan.shape[0]), slice(0, scan.shape[1])))
        kept = (random.random(1 + len(INKS)) >= self.screens.missed).astype(np.float32)
        return exact_waves(printing, *scan.shape[:2]) * kept[0] * kept[1:]


class ScanStream:
    """Simulated prints and scans of the photographs of `photos`, each with its own random printing parameters.

    rotate  rotate each photograph before it is printed, by up to `screens.rotate` degrees
    edges   add the edge map of the ground truth
    waves   append the per-ink screen-phase maps (descreen/waves.py) to the scan's channels: "exact", from the printing
            parameters, with dropout at rate `screens.missed`; or "estimated", from the scan
    inks    append what a classifier might believe of the inks (descreen/inks.py) as the last channel
    The scans are made by one thread or, with several num_workers of `photos`, by as many processes, no more than there
    are cores: threads would wait for each other.
    """

    def __init__(
        self,
        photos: BatchStream,
        screens: ScreensConfig,
        *,
        rotate: bool = False,
        edges: bool = False,
        waves: Literal["exact", "estimated"] | None = None,
        inks: bool = False,
    ):
        self.photos = photos
        self.maker = ScanMaker(screens, rotate, edges, waves, inks, photos.seed)

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self.photos)

    def batches(
        self, epoch: int, start_step: int = 0, device: torch.device | str = "cpu"
    ) -> Iterator[dict[str, Tensor]]:
        """Steps `start_step` … of `epoch`: "scan" and "colour", the ground truth, (N, 3, h, w) BGR in [-1, 1].

        With `waves` "scan" is (N, 7, h, w), with `inks` it has one channel more; with `edges` there is also "edges"
        (N, 1, h, w) in {0, 1}.
        """
        workers = max(1, min(self.photos.num_workers, available_cores()))
        pool = _processes(workers) if workers > 1 else None
        with closing(self.photos.batches(epoch, start_step)) as photos:
            jobs = (
                partial(
                    self.maker,
                    np.stack([to_uint8(photo) for photo in batch["colour"]]),
                    self.photos.places(step),
                    epoch,
                    step,
                )
                for step, batch in enumerate(photos, start_step)
            )
            with closing(prefetch(jobs, workers, pool=pool)) as batches:
                for batch in batches:
                    yield {name: torch.from_numpy(value).to(device, non_blocking=True) for name, value in batch.items()}


@cache
def _processes(workers: int) -> ProcessPoolExecutor:
    """Processes that live as long as this one; started afresh, since CUDA does not survive a fork."""
    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_process)


def _start_process() -> None:
    """One thread for each library, since there is a process for each core; Ctrl-C ends the parent process first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def edge_map(bgr: np.ndarray) -> np.ndarray:
    """Canny edges, σ 1 pixel, of the luma of (H, W, 3) BGR uint8: bool (H, W)."""
    return canny(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), sigma=1)


def _rotate(bgr: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate about the centre; the border is filled by reflection."""
    height, width = bgr.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(bgr, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
