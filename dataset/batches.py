"""Batches as a pure function of (seed, epoch, step): nothing to save for a resume, the same on any number of processes.

The photographs are a `PhotoSet` (utils/photo_set.py).
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from dataset.photo_set import PhotoSet
from utils.errors import UserError

# What a random number is for; part of the key it is drawn with.
_PHOTO_ORDER, _SPECIAL_ORDER, _PHOTO_VIEW, _SPECIAL_VIEW = range(4)


def _random(count: int, *key: int) -> np.ndarray:
    """`count` uint64 that depend on `key` alone (Philox, a counter-based generator whose raw output never changes)."""
    return np.random.Philox(np.random.SeedSequence([number % 2**64 for number in key])).random_raw(count)


class BatchStream:
    """The batches of one rank.

    photos, specials  the photographs, and constant colours of which every batch gets as many, in turn
    batch_size        joint batch of all ranks; rank r of `world_size` gets the r-th part of it, all of
                      one size
    crop_size         side of a random square crop at even offsets, pixels; None: whole photographs
    flip              mirror at random, left to right
    shuffle           a new order each epoch, the last batch filled up from the epoch's beginning, so that all have one
                      size. Without it each photograph comes once, in order, and the last batch may be short
    num_workers       threads that prepare batches ahead; 0: none. Values never depend on it

    Raises UserError when the crop does not fit.
    """

    def __init__(
        self,
        photos: PhotoSet,
        specials: PhotoSet | None = None,
        *,
        batch_size: int,
        crop_size: int | None = None,
        flip: bool = False,
        shuffle: bool = True,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 1,
    ):
        for photo_set in (photos, specials):
            if photo_set is not None and crop_size is not None and crop_size > min(photo_set.size):
                height, width = photo_set.size
                raise UserError(f"crop_size: {crop_size} does not fit into {photo_set.name} of {width} x {height}")
        self.photos, self.specials = photos, specials
        self.batch_size, self.crop_size, self.flip, self.shuffle = batch_size, crop_size, flip, shuffle
        self.seed, self.rank, self.world_size, self.num_workers = seed, rank, world_size, num_workers

    def __len__(self) -> int:
        """Steps in an epoch."""
        return -(-len(self.photos) // self.batch_size)

    def batches(
        self, epoch: int, start_step: int = 0, device: torch.device | str = "cpu"
    ) -> Iterator[dict[str, Tensor]]:
        """Steps `start_step` … of `epoch`, float32 on `device`, h x w the crop or the whole photograph.

        "colour" (N, 3, h, w) BGR in [-1, 1], "reference" (N, 1, h, w) in {-1, 1}, with a prior "prior" (N, 1, h, w) in
        {-1, 1}; with specials also "special_colour", "special_reference" and "special_prior". A rank that gets nothing
        of a short last batch ends before it.
        """
        device = torch.device(device)
        order = self._order(len(self.photos), _PHOTO_ORDER, epoch)
        self.photos.load()
        if self.specials is not None:
            self.specials.load()
        steps = iter(range(start_step, len(self)))
        if not self.num_workers:
            for step in steps:
                if host := self._host_batch(order, epoch, step, device):
                    yield self._on_device(host, device)
            return
        workers = 1 if self.photos.in_memory else min(self.num_workers, len(self))
        pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
        ahead: deque[Future] = deque()
        try:
            while True:
                while len(ahead) <= workers and (step := next(steps, None)) is not None:
                    ahead.append(pool.submit(self._host_batch, order, epoch, step, device))
                if not ahead:
                    return
                if host := ahead.popleft().result():
                    yield self._on_device(host, device)
        finally:
            pool.shutdown(cancel_futures=True)

    def places(self, step: int) -> np.ndarray:
        """Which photographs of the joint batch of `step` are this rank's: their places in it."""
        count = self.batch_size
        if not self.shuffle:
            count = min(count, len(self.photos) - step * self.batch_size)
        return np.arange(self.rank * count // self.world_size, (self.rank + 1) * count // self.world_size)

    def _order(self, count: int, purpose: int, turn: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(count)
        return np.argsort(_random(count, self.seed, purpose, turn), kind="stable")

    def _host_batch(
        self, order: np.ndarray, epoch: int, step: int, device: torch.device
    ) -> dict[str, tuple[dict[str, Tensor], np.ndarray]]:
        """The rank's part of a joint batch as stored and the view to take of each photograph, by prefix of the keys."""
        first = step * self.batch_size
        mine = self.places(step)
        if not len(mine):
            return {}
        drawn = {"": (self.photos, order[(first + mine) % len(order)], _PHOTO_VIEW)}
        if self.specials is not None:
            turns, places = np.divmod((epoch * len(self) + step) * self.batch_size + mine, len(self.specials))
            orders = {
                turn: self._order(len(self.specials), _SPECIAL_ORDER, turn) for turn in map(int, np.unique(turns))
            }
            chosen = np.array([orders[int(turn)][place] for turn, place in zip(turns, places, strict=True)])
            drawn["special_"] = (self.specials, chosen, _SPECIAL_VIEW)
        batch = {}
        for prefix, (photo_set, indices, purpose) in drawn.items():
            view = self._views(photo_set, purpose, epoch, step)[mine]
            arrays = photo_set.fetch(indices, view[:, 2].astype(bool))
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            batch[prefix] = {name: t.pin_memory() if device.type == "cuda" else t for name, t in tensors.items()}, view
        return batch

    def _views(self, photo_set: PhotoSet, purpose: int, epoch: int, step: int) -> np.ndarray:
        """Top, left and whether mirrored, int64 (batch_size, 3)."""
        numbers = _random(3 * self.batch_size, self.seed, purpose, epoch, step).reshape(-1, 3)
        choices = [(side - (self.crop_size or side)) // 2 + 1 for side in photo_set.size]
        view = (numbers % np.array([*choices, 2 if self.flip else 1], np.uint64)).astype(np.int64)
        return view * (2, 2, 1)

    def _on_device(
        self, host: dict[str, tuple[dict[str, Tensor], np.ndarray]], device: torch.device
    ) -> dict[str, Tensor]:
        batch = {}
        for prefix, (tensors, view) in host.items():
            for name, stored in tensors.items():
                # A prior was fetched for the mirror image already; mirrored itself it would lose its colours.
                seen = self._seen(stored.to(device, non_blocking=True), view, mirror=name != "prior")
                batch[prefix + name] = seen.float().div_(127.5).sub_(1)
        return batch

    def _seen(self, stored: Tensor, view: np.ndarray, mirror: bool) -> Tensor:
        if self.crop_size is None and not self.flip:
            return stored
        height, width = (self.crop_size or side for side in stored.shape[2:])
        pictures = []
        for picture, (top, left, mirrored) in zip(stored, view.tolist(), strict=True):
            if mirrored and mirror:
                start = stored.shape[3] - left - width
                pictures.append(picture[:, top : top + height, start : start + width].flip(2))
            else:
                pictures.append(picture[:, top : top + height, left : left + width])
        return torch.stack(pictures)
