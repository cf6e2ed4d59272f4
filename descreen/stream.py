"""Batches of scans with their photographs, a pure function of (seed, epoch, step) as those they are made from."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import cv2
import numpy as np
import torch
from skimage.feature import canny
from torch import Tensor

from dataset.batches import BatchStream
from descreen.config import ScreensConfig
from descreen.printing import Printing, draw_printing, ground_truth, print_and_scan
from descreen.screen_finder import find_screens
from descreen.waves import EstimatedWaves, concat_waves, exact_waves
from halftone.inks import INKS
from utils.pixels import to_tensor, to_uint8

_PURPOSE = 7  # part of the key of the random numbers, apart from those of utils/dataset.py


class ScanStream:
    """Prints and scans the photographs of `photos`, each in a way of its own.

    rotate  also turn each photograph before it is printed, up to `screens.rotate` degrees
    edges   also give the edges of the truth
    waves   after the scan's three channels the waves of its inks (descreen/waves.py): "drawn", those of the printing,
            of which `screens.missed` are left out, or "found", as on a scan whose printing nobody knows
    """

    def __init__(
        self,
        photos: BatchStream,
        screens: ScreensConfig,
        *,
        rotate: bool = False,
        edges: bool = False,
        waves: Literal["exact", "estimated"] | None = None,
    ):
        self.photos, self.screens, self.rotate, self.edges, self.waves = photos, screens, rotate, edges, waves

    def __len__(self) -> int:
        """Steps in an epoch."""
        return len(self.photos)

    def batches(
        self, epoch: int, start_step: int = 0, device: torch.device | str = "cpu"
    ) -> Iterator[dict[str, Tensor]]:
        """Steps `start_step` … of `epoch`: "scan" and "colour" (N, 3, h, w) BGR in [-1, 1], the latter the truth.

        With `waves` "scan" is (N, 7, h, w); with `edges` there is also "edges" (N, 1, h, w) in {0, 1}.
        """
        workers = max(1, min(self.photos.num_workers, 2))
        ahead: deque[Future] = deque()
        inner = self.photos.batches(epoch, start_step)
        pool = ThreadPoolExecutor(workers, thread_name_prefix="scans")
        try:
            for step, batch in enumerate(inner, start_step):
                ahead.append(pool.submit(self._scanned, batch["colour"], epoch, step))
                if len(ahead) > workers:
                    yield _on(ahead.popleft().result(), device)
            while ahead:
                yield _on(ahead.popleft().result(), device)
        finally:
            inner.close()
            pool.shutdown(cancel_futures=True)

    def _scanned(self, colour: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        samples = []
        for place, photo in zip(self.photos.places(step), colour, strict=True):
            key = [number % 2**64 for number in (self.photos.seed, _PURPOSE, epoch, step, int(place))]
            random = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
            samples.append(self._sample(to_uint8(photo), random))
        return {name: torch.cat([sample[name] for sample in samples]) for name in samples[0]}

    def _sample(self, bgr: np.ndarray, random: np.random.Generator) -> dict[str, Tensor]:
        if self.rotate and self.screens.rotate:
            bgr = _turned(bgr, random.uniform(-self.screens.rotate, self.screens.rotate))
        printing = draw_printing(self.screens, random)
        target = ground_truth(bgr, printing)
        scan = print_and_scan(bgr, printing)
        sample = {"scan": to_tensor(scan), "colour": to_tensor(target)}
        if self.waves:
            sample["scan"] = concat_waves(sample["scan"], self._waves_of(scan, printing, random))
        if self.edges:
            sample["edges"] = torch.from_numpy(edge_map(target))[None, None].float()
        return sample

    def _waves_of(self, scan: np.ndarray, printing: Printing, random: np.random.Generator) -> np.ndarray:
        if self.waves == "estimated":
            return EstimatedWaves(scan, find_screens(scan)).crop((slice(0, scan.shape[0]), slice(0, scan.shape[1])))
        seen = (random.random(1 + len(INKS)) >= self.screens.missed).astype(np.float32)
        return exact_waves(printing, *scan.shape[:2]) * seen[0] * seen[1:]


def edge_map(bgr: np.ndarray) -> np.ndarray:
    """Canny edges, σ 1 pixel, of the luma of (H, W, 3) BGR uint8: bool (H, W)."""
    return canny(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), sigma=1)


def _turned(bgr: np.ndarray, degrees: float) -> np.ndarray:
    """Turn about the middle; what comes in over the border is a reflection."""
    height, width = bgr.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(bgr, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def _on(batch: dict[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    return {name: value.to(device, non_blocking=True) for name, value in batch.items()}
