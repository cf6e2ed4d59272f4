"""The recording and replay of training steps, with a simulated CUDA graph that repeats the recorded computation."""

from contextlib import contextmanager

import pytest
import torch
from torch import nn

from training.step_graph import EAGER_STEPS, StepGraph


class SimulatedCuda:
    """Stands for torch.cuda: a replay runs the function that was called in the recording, with the same tensors."""

    def __init__(self):
        self.recordings, self.replays, self.recorded = 0, 0, None

    def install(self, monkeypatch):
        class Stream:
            def wait_stream(self, other):
                pass

        class Graph:
            def replay(graph):
                self.replays += 1
                self.recorded()

        @contextmanager
        def graph(recording, stream, capture_error_mode):
            self.recordings += 1
            yield

        @contextmanager
        def stream(_):
            yield

        values = {"Stream": Stream, "CUDAGraph": Graph, "graph": graph, "stream": stream, "current_stream": Stream}
        for name, value in values.items():
            monkeypatch.setattr(torch.cuda, name, value)


@pytest.fixture
def cuda(monkeypatch):
    simulated = SimulatedCuda()
    simulated.install(monkeypatch)
    return simulated


class Step:
    """total = weight · x; `compute` is what a graph records, and repeats into the same tensors."""

    def __init__(self, cuda):
        self.cuda, self.weight, self.calls = cuda, nn.Parameter(torch.tensor(2.0)), 0
        self.graph = StepGraph(self.compute, [self.weight])

    def compute(self, batch):
        assert self.weight.grad is None, "the gradient would be added to that of the step before"
        self.calls += 1
        total = (self.weight * batch["x"]).sum()
        total.backward()
        terms, gradient = {"total": total}, self.weight.grad

        def repeat():
            gradient.copy_(batch["x"].sum())
            total.detach().copy_(self.weight.detach() * batch["x"].sum())

        self.cuda.recorded = repeat
        return terms


def test_after_the_eager_steps_each_step_replays_the_recording_on_its_own_batch(cuda):
    step = Step(cuda)
    for number in range(1, EAGER_STEPS + 4):
        terms = step.graph({"x": torch.full((3,), float(number))}, None)
        assert terms["total"].item() == 6 * number and step.weight.grad.item() == 3 * number
    assert (step.calls, cuda.recordings, cuda.replays) == (EAGER_STEPS + 1, 1, 3)


@pytest.mark.parametrize("change", ["phase", "shape"])
def test_another_phase_or_shape_is_recorded_anew(cuda, change):
    step = Step(cuda)
    for _ in range(EAGER_STEPS + 2):
        step.graph({"x": torch.ones(3)}, "start")
    other = {"x": torch.ones(3 if change == "phase" else 5)}, "warm-up" if change == "phase" else "start"
    for _ in range(EAGER_STEPS + 2):
        assert step.graph(*other)["total"].item() == 2 * len(other[0]["x"])
    assert (cuda.recordings, cuda.replays) == (2, 4)
