"""The moving average of a network's weights."""

from functools import partialmethod

import torch
from torch import nn

from training.average import WeightAverage


def test_floats_are_averaged_and_integers_copied_with_the_documented_decay():
    network = nn.BatchNorm2d(2)
    average = WeightAverage(network, decay=0.3)
    expected = network.running_mean.clone()
    for step, decay in ((1, 2 / 11), (2, 3 / 12), (3, 0.3)):
        network(torch.randn(4, 2, 3, 3))
        average.update(step)
        expected = decay * expected + (1 - decay) * network.running_mean
    torch.testing.assert_close(average.module.running_mean, expected)
    assert average.module.num_batches_tracked == network.num_batches_tracked == 3
    assert average.module.state_dict().keys() == network.state_dict().keys()


def test_frozen_weights_keep_their_bits():
    network = nn.Linear(3, 3).requires_grad_(False)
    average = WeightAverage(network, decay=0.9)
    average.update(1)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in average.module.state_dict().items())


class Part(nn.Module):
    """torch 2.6 does not trace a layer of its own that is compiled by itself."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x)


def test_the_copy_keeps_channels_last_and_is_not_compiled(monkeypatch):
    traced = []

    def backend(graph, _):
        traced.append(graph)
        return graph

    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    network = nn.Sequential(Part()).to(memory_format=torch.channels_last)
    network[0].compile()
    average = WeightAverage(network, decay=0.5)
    image = torch.rand(1, 3, 8, 8)
    expected = average.module(image)
    assert not traced
    torch.testing.assert_close(network(image), expected)
    assert traced
    average.update(1)
    assert average.module[0].conv.weight.is_contiguous(memory_format=torch.channels_last)
