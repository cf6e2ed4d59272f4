"""The quantizer's gradient: straight through, and guarded."""

import pytest
import torch

from model.quantizer import quantize

X = [-3.0, -1.5, -0.5, 0.5, 1.5, 3.0]


@pytest.mark.parametrize("gradient", [1.0, -1.0])
def test_the_guard_keeps_the_gradients_that_lead_back_and_those_inside(gradient):
    plain, guarded = (torch.tensor(X, requires_grad=True) for _ in range(2))
    assert torch.equal(quantize(plain), quantize(guarded, guarded=True))
    (gradient * quantize(plain)).sum().backward()
    (gradient * quantize(guarded, guarded=True)).sum().backward()
    assert plain.grad.tolist() == [gradient] * len(X)
    expected = [0.0 if abs(x) > 1 and x * gradient < 0 else gradient for x in X]
    assert guarded.grad.tolist() == expected


def test_with_the_guard_an_output_that_may_grow_without_limit_stays():
    """The target 2 is out of reach of a halftone: the gradient always points to larger values."""
    for guarded, limit in ((False, 10.0), (True, 1.5)):
        x = torch.tensor([0.2], requires_grad=True)
        for _ in range(200):
            x.grad = None
            (quantize(x, guarded) - 2).square().sum().backward()
            x.data -= 0.1 * x.grad
        assert (x.item() > limit) != guarded
