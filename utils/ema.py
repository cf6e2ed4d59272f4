"""Exponential moving average of a network's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Averaged copy of a network's state dict, kept in float32 on the network's device."""

    def __init__(self, network: nn.Module, decay: float):
        self._network, self._decay = network, decay
        self.weights = {key: value.detach().clone() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the present weights; early steps (1-based) use the smaller decay (1 + step) / (10 + step)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        averaged, present = [], []
        for key, value in self._network.state_dict().items():
            if value.is_floating_point():
                averaged.append(self.weights[key])
                present.append(value)
            else:  # a counter
                self.weights[key].copy_(value)
        torch._foreach_lerp_(averaged, present, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network holds the averaged weights inside the `with`, its own again after it."""
        own = {key: value.clone() for key, value in self._network.state_dict().items()}
        self._network.load_state_dict(self.weights)
        try:
            yield
        finally:
            self._network.load_state_dict(own)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Continue from saved averages."""
        for key, value in self.weights.items():
            value.copy_(weights[key])
