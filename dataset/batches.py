"""Batches as a pure function of (seed, epoch, step): no state to save, and the same for any number of processes."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dataset.photo_set import PhotoSet
from dataset.prefetch import prefetch
from utils.errors import UserError

# RNG stream ids, part of the key of each generator.
_PHOTO_ORDER, _SPECIAL_ORDER, _PHOTO_VIEW, _SPECIAL_VIEW = range(4)


def _random(count: int, *key: int) -> np.ndarray:
    """`count` uint64 determined by `key` (Philox, a counter-based generator whose raw output never changes)."""
    return np.random.Philox(np.random.SeedSequence([number % 2**64 for number in key])).random_raw(count)


class BatchStream:
    """The batches of one rank.

    photos, specials  the photographs, and constant colours, in turn
    batch_size        photographs of the joint batch; rank r of `world_size` gets its r-th part, of equal size when
                      shuffled
    special_batch_size  constant colours of the joint batch; None: as many as photographs
    crop_size         side of a random square crop at even offsets, pixels; None: whole photographs
    flip              random horizontal mirroring
    shuffle           a new order in each epoch, the last batch filled up from the beginning of the epoch, so that all
                      batches have one size. False: each photograph once, in order, and the last batch may be short
    num_workers       threads that prepare batches ahead; 0: none. Values do not depend on it

    Raises UserError when the crop does not fit.
    """

    def __init__(
        self,
        photos: PhotoSet,
        specials: PhotoSet | None = None,
        *,
        batch_size: int,
        special_batch_size: int | None = None,
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
        self.special_batch_size = special_batch_size or batch_size
        self.seed, self.rank, self.world_size, self.num_workers = seed, rank, world_size, num_workers

    def __len__(self) -> int:
        """Steps in an epoch."""
        return -(-len(self.photos) // self.batch_size)

    def batches(
        self, epoch: int, start_step: int = 0, device: torch.device | str = "cpu"
    ) -> Iterator[dict[str, Tensor]]:
        """Steps `start_step` … of `epoch`, float32 on `device`; h, w: size of the crop or the whole photograph.

        "colour" (N, 3, h, w) BGR in [-1, 1], "reference" (N, 1, h, w) in {-1, 1}, with a prior "prior" (N, 1, h, w) in
        {-1, 1}; with specials also "special_colour", "special_reference" and "special_prior". A rank without a part of
        a short last batch ends before it.
        """
        device = torch.device(device)
        order = self._order(len(self.photos), _PHOTO_ORDER, epoch)
        self.photos.load()
        if self.specials is not None:
            self.specials.load()
        workers = min(self.num_workers, 1 if self.photos.in_memory else len(self))
        jobs = (partial(self._host_batch, order, epoch, step, device) for step in range(start_step, len(self)))
        with closing(prefetch(jobs, workers)) as host_batches:
            for host in host_batches:
                if host:
                    yield {
                        name: stored.to(device, non_blocking=True).float().div_(127.5).sub_(1)
                        for name, stored in host.items()
                    }

    def places(self, step: int) -> np.ndarray:
        """Indices, in the joint batch of `step`, of this rank's photographs."""
        count = self.batch_size
        if not self.shuffle:
            count = min(count, len(self.photos) - step * self.batch_size)
        return self._part(count)

    def _part(self, count: int) -> np.ndarray:
        """This rank's indices into a joint batch of `count`."""
        return np.arange(self.rank * count // self.world_size, (self.rank + 1) * count // self.world_size)

    def _order(self, count: int, purpose: int, turn: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(count)
        return np.argsort(_random(count, self.seed, purpose, turn), kind="stable")

    def _host_batch(self, order: np.ndarray, epoch: int, step: int, device: torch.device) -> dict[str, Tensor]:
        """The rank's part of a joint batch, uint8, cropped here so that a GPU gets no more than it needs."""
        first = step * self.batch_size
        mine = self.places(step)
        if not len(mine):
            return {}
        drawn = {"": (self.photos, order[(first + mine) % len(order)], _PHOTO_VIEW, mine, self.batch_size)}
        if self.specials is not None:
            count = self.special_batch_size
            mine = self._part(count) if count != self.batch_size else mine
            turns, places = np.divmod((epoch * len(self) + step) * count + mine, len(self.specials))
            orders = {
                turn: self._order(len(self.specials), _SPECIAL_ORDER, turn) for turn in map(int, np.unique(turns))
            }
            chosen = np.array([orders[int(turn)][place] for turn, place in zip(turns, places, strict=True)])
            drawn["special_"] = (self.specials, chosen, _SPECIAL_VIEW, mine, count)
        batch = {}
        for prefix, (photo_set, indices, purpose, part, count) in drawn.items():
            view = self._views(photo_set, purpose, epoch, step, count)[part]
            arrays = photo_set.fetch(indices, view, self.crop_size)
            for name, array in arrays.items():
                tensor = torch.from_numpy(array)
                batch[prefix + name] = tensor.pin_memory() if device.type == "cuda" else tensor
        return batch

    def _views(self, photo_set: PhotoSet, purpose: int, epoch: int, step: int, count: int) -> np.ndarray:
        """Top, left (pixels) and whether mirrored (0 or 1) of each crop of the joint batch, int64 (count, 3)."""
        numbers = _random(3 * count, self.seed, purpose, epoch, step).reshape(-1, 3)
        choices = [(side - (self.crop_size or side)) // 2 + 1 for side in photo_set.size]
        view = (numbers % np.array([*choices, 2 if self.flip else 1], np.uint64)).astype(np.int64)
        return view * (2, 2, 1)
