"""Running means of loss terms over all processes, and a check that they are finite."""

import math
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from utils.errors import UserError

LIMITS = {
    "quantize": (
        10.0,
        "set driftGuard to true, grad_clip to 1 and optimizer.betas to [0.9, 0.99], or lower optimizer.lr",
    ),
    "start": (100.0, "lower optimizer.lr, or set grad_clip to 1"),
}
"""Highest accepted values of the terms that are large only where the continuous halftone leaves [-1, 1] by orders: its
mean distance from -1 and 1, and its mean squared error; and what to change."""


class LossMeter:
    """Sums of the terms since the last log line and since the start of the epoch, on the device.

    deferred  check the values of a step when the next one is queued, so that the GPU does not wait; default: except on
              a CPU

    `stop` becomes true, at the same step in all processes, after a stop request in any of them.
    """

    def __init__(self, fabric: Fabric, deferred: bool | None = None):
        self._fabric = fabric
        self._deferred = fabric.device.type != "cpu" if deferred is None else deferred
        self._names: list[str] = []
        self._sums: dict[str, tuple[Tensor | float, int]] = {"epoch": (0.0, 0), "interval": (0.0, 0)}
        self._pending: tuple[int, Tensor, torch.cuda.Event | None] | None = None
        self.stop = False

    def add(self, step: int, terms: dict[str, Tensor], stop_requested: bool) -> None:
        """Add the scalar terms of one step. Raises UserError with step and terms when one is not finite or too large.

        When the names of the terms change, the sums restart.
        """
        if self._names != list(terms):
            self.check()  # with the names of its step
            self._names = list(terms)
            self._sums = dict.fromkeys(self._sums, (0.0, 0))
        request = terms["total"].new_full((), float(stop_requested))
        values = torch.stack([value.detach().double() for value in (*terms.values(), request)])
        if self._fabric.world_size > 1:
            torch.distributed.all_reduce(values)  # Fabric.all_reduce waits at a barrier in every step
            values /= self._fabric.world_size
        for name, (total, steps) in self._sums.items():
            self._sums[name] = (total + values, steps + 1)
        if self._deferred:
            self.check()
        self._pending = (step, *_copy_to_host(values))
        if not self._deferred:
            self.check()

    def check(self) -> None:
        """Check the values of the last step; to be called before anything is saved."""
        if self._pending is None:
            return
        step, host, copied = self._pending
        self._pending = None
        if copied is not None:
            copied.synchronize()
        values = host.tolist()
        if not all(map(math.isfinite, values)):
            terms = ", ".join(f"{name} {value:.6g}" for name, value in zip(self._names, values, strict=False))
            raise UserError(f"step {step}: the loss is not finite: {terms}")
        for name, value in zip(self._names, values, strict=False):
            limit, remedy = LIMITS.get(name, (math.inf, ""))
            if value > limit:
                raise UserError(
                    f"step {step}: the continuous halftone has left [-1, 1]: {name} is {value:.6g}, allowed: up to "
                    f"{limit:g}; {remedy}"
                )
        self.stop = self.stop or values[-1] > 0

    def interval_mean(self) -> dict[str, float]:
        """Means since the last call."""
        means = self._means("interval")
        self._sums["interval"] = (0.0, 0)
        return means

    def epoch_mean(self) -> dict[str, float]:
        """Means since the start of the epoch."""
        return self._means("epoch")

    def start_epoch(self) -> None:
        """Reset the sums of the epoch."""
        self._sums["epoch"] = (0.0, 0)

    def state_dict(self) -> dict[str, Any]:
        """The sums of an incomplete epoch."""
        total, steps = self._sums["epoch"]
        return {"names": self._names, "epoch": total.cpu() if steps else None, "epoch_steps": steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._names = list(state["names"])
        if state["epoch"] is not None:
            self._sums["epoch"] = (state["epoch"].to(self._fabric.device), state["epoch_steps"])

    def _means(self, period: str) -> dict[str, float]:
        total, steps = self._sums[period]
        return dict(zip(self._names, (total / steps).tolist(), strict=False)) if steps else {}


def _copy_to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A host copy and, on CUDA, the event that marks its completion.

    Queued now, the copy waits for the work of this step only; queued later, it would wait for that of the next one.
    """
    host = values.to("cpu", non_blocking=True)
    if not values.is_cuda:
        return host, None
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(values.device))
    return host, copied
