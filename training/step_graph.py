"""Forward and backward pass of a training step as a CUDA graph.

A step of a narrow network is thousands of short kernels, which the host queues more slowly than a GPU computes them. A
graph queues them all at once.
"""

from collections.abc import Callable, Hashable, Iterable

import torch
from torch import Tensor, nn

from training.protocols import Batch

Terms = dict[str, Tensor]
EAGER_STEPS = 3
"""Steps before the recording, in which cuDNN chooses its kernels and constants reach the device."""


class StepGraph:
    """Computes `compute(batch)` by replaying a recording of it, made anew when `phase` or the shapes change.

    compute     batch → scalar terms, leaving the gradients in `parameters`; the kernels may depend on the phase and on
                the shapes of the batch only, and nothing may be copied from the host or read on it
    parameters  those whose gradients `compute` sets. They belong to the recording: nothing else may replace them
    The terms are overwritten by the next call.
    """

    def __init__(self, compute: Callable[[Batch], Terms], parameters: Iterable[nn.Parameter]):
        self._compute, self._parameters = compute, list(parameters)
        self._stream = torch.cuda.Stream()
        self._key: Hashable = None
        self._eager_steps = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Batch = {}
        self._terms: Terms = {}

    def __call__(self, batch: Batch, phase: Hashable) -> Terms:
        key = phase, *((name, value.shape) for name, value in batch.items())
        if key != self._key:
            self._key, self._graph, self._eager_steps = key, None, 0
        if self._graph is None and self._eager_steps < EAGER_STEPS:
            self._eager_steps += 1
            return self._on_side_stream(batch)
        if self._graph is None:
            self._record(batch)
        for name, value in batch.items():
            self._inputs[name].copy_(value)
        self._graph.replay()
        return self._terms

    def _on_side_stream(self, batch: Batch) -> Terms:
        """An ordinary step on the stream of the recording, to which autograd ties the parameters at their first use."""
        main = torch.cuda.current_stream()
        self._stream.wait_stream(main)
        self._clear_gradients()
        with torch.cuda.stream(self._stream):
            terms = self._compute(batch)
        main.wait_stream(self._stream)
        return terms

    def _record(self, batch: Batch) -> None:
        self._inputs = {name: value.clone() for name, value in batch.items()}
        self._clear_gradients()  # so that the recorded backward pass sets them instead of adding to them
        self._graph = torch.cuda.CUDAGraph()
        # Other threads prepare batches meanwhile: they may allocate pinned memory.
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            self._terms = {name: value.detach() for name, value in self._compute(self._inputs).items()}

    def _clear_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None
