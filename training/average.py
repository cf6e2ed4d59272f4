"""Exponential moving average of a network's weights."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class WeightAverage(AveragedModel):
    """`module` is a copy of a network with averaged weights and buffers.

    The decay rises to `decay` as (1 + n) / (10 + n) over the first updates n = 1, 2, …; counters are copied.
    """

    def __init__(self, network: nn.Module, decay: float):
        super().__init__(network, multi_avg_fn=self._move, use_buffers=True)
        self.decay = decay
        self.n_averaged.fill_(1)  # at 0, AveragedModel would forget the initial weights

    def restore(self, weights: dict[str, Tensor], step: int) -> None:
        """Continue from the averages saved after update number `step`."""
        self.module.load_state_dict(weights)
        self.n_averaged.fill_(step + 1)

    def _move(self, averaged: list[Tensor], current: list[Tensor], _: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)
            return
        number = int(self.n_averaged)  # on the CPU: reading the copy on a GPU would wait for it
        torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + number) / (10 + number)))
