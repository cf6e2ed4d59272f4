"""Running means of an objective's terms over all processes, and a check that they are finite."""

import math
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from utils.errors import UserError


class LossMeter:
    """Sums stay on the device.

    late  check a step's values only when the next step has been queued, so that a GPU need not wait; the default
          except on a CPU

    `stop` becomes true, in all processes at the same step, when any of them was asked to stop.
    """

    def __init__(self, fabric: Fabric, late: bool | None = None):
        self._fabric = fabric
        self._late = fabric.device.type != "cpu" if late is None else late
        self._names: list[str] = []
        self._epoch: Tensor | None = None
        self._epoch_steps = 0
        self._interval: Tensor | None = None
        self._interval_steps = 0
        self._unchecked: tuple[int, Tensor, torch.cuda.Event | None] | None = None
        self.stop = False

    def add(self, step: int, terms: dict[str, Tensor], asked_to_stop: bool) -> None:
        """Add one step's scalar terms. Raises UserError naming step and terms when one is not finite.

        Sums of other terms, from before a resume, are forgotten.
        """
        if self._names != list(terms):
            self._names = list(terms)
            self.start_epoch()
        request = terms["total"].new_full((), float(asked_to_stop))
        values = torch.stack([value.detach().double() for value in (*terms.values(), request)])
        if self._fabric.world_size > 1:
            torch.distributed.all_reduce(values)  # Fabric's own would wait at a barrier every step
            values /= self._fabric.world_size
        self._epoch = values if self._epoch is None else self._epoch + values
        self._epoch_steps += 1
        self._interval = values if self._interval is None else self._interval + values
        self._interval_steps += 1
        if self._late:
            self.check()
        self._unchecked = (step, *_copy_to_host(values))
        if not self._late:
            self.check()

    def check(self) -> None:
        """Check the last step's values; to be called before anything is saved."""
        if self._unchecked is None:
            return
        step, host, arrived = self._unchecked
        self._unchecked = None
        if arrived is not None:
            arrived.synchronize()
        values = host.tolist()
        if not all(map(math.isfinite, values)):
            terms = ", ".join(f"{name} {value:.6g}" for name, value in zip(self._names, values, strict=False))
            raise UserError(f"step {step}: the loss is not finite: {terms}")
        self.stop = self.stop or values[-1] > 0

    def interval_mean(self) -> dict[str, float]:
        """Means since the last call."""
        means = self._means(self._interval, self._interval_steps)
        self._interval, self._interval_steps = None, 0
        return means

    def epoch_mean(self) -> dict[str, float]:
        """Means since the epoch began."""
        return self._means(self._epoch, self._epoch_steps)

    def start_epoch(self) -> None:
        """Forget the epoch's sums."""
        self._epoch, self._epoch_steps = None, 0

    def state_dict(self) -> dict[str, Any]:
        """The sums of an epoch cut in the middle."""
        total = None if self._epoch is None else self._epoch.cpu()
        return {"names": self._names, "epoch": total, "epoch_steps": self._epoch_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._names, self._epoch_steps = list(state["names"]), state["epoch_steps"]
        self._epoch = None if state["epoch"] is None else state["epoch"].to(self._fabric.device)

    def _means(self, total: Tensor | None, steps: int) -> dict[str, float]:
        if total is None:
            return {}
        return dict(zip(self._names, (total / steps).tolist(), strict=False))


def _copy_to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A copy for the host, and on CUDA what tells that it has arrived.

    Asked for now, the copy waits for this step's work only; asked for later, it would queue behind the next step's.
    """
    host = values.to("cpu", non_blocking=True)
    if not values.is_cuda:
        return host, None
    arrived = torch.cuda.Event()
    arrived.record(torch.cuda.current_stream(values.device))
    return host, arrived
