"""Exponential moving average of a network's weights."""

from collections.abc import Iterable
from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn


class WeightAverage:
    """`module` is a copy of `network` whose weights and buffers are averages; integer buffers are copied.

    torch's AveragedModel is not used: it copies a counter to the GPU in every update and waits for the copy.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.module = deepcopy(network).requires_grad_(False)
        self._network, self._decay = network, decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the weights after step n = 1, 2, …, with a decay of at most (1 + n) / (10 + n)."""
        averaged, current = [], []
        for target, source in zip(_tensors(self.module), _tensors(self._network), strict=True):
            if target.is_floating_point():
                averaged.append(target)
                current.append(source)
            else:
                target.copy_(source)
        torch._foreach_lerp_(averaged, current, 1 - min(self._decay, (1 + step) / (10 + step)))


def _tensors(network: nn.Module) -> Iterable[Tensor]:
    return chain(network.parameters(), network.buffers())
