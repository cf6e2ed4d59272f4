"""What the training loop needs of an objective and of a source of batches."""

from collections.abc import Hashable, Iterator
from typing import Any, Protocol

from torch import Tensor, nn

Batch = dict[str, Tensor]


class Stream(Protocol):
    """Source of batches (dataset.batches.BatchStream). Its length is the number of steps of one pass over the data."""

    def __len__(self) -> int: ...

    def batches(self, epoch: int, start_step: int = 0, device: Any = "cpu") -> Iterator[Batch]:
        """Steps `start_step` … of pass `epoch`, a pure function of the arguments."""


class Objective(Protocol):
    """An nn.Module that owns what is trained.

    network         the network that is checkpointed; `network.arch()` describes its architecture
    discriminators  further trained networks that only a resumed run needs, or None
    step            completed steps of the training, set before each call
    phase           what the terms depend on besides the batch and the weights; it may change with `step`
    """

    network: nn.Module
    discriminators: nn.Module | None
    step: int
    phase: Hashable

    def draw(self, batch: Batch) -> Batch:
        """Add to a batch of a training step what is drawn anew in each step on the host, before it is called."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar loss terms and "total", which is minimised."""

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Validation images "target" and, where there are, "halftone", "restored", …, (N, C, H, W) in [-1, 1]."""
