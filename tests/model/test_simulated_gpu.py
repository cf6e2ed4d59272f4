"""Training steps on a simulated GPU (FakeTensorMode): tensors have a device and a shape, but no values.

They show on any machine that everything is computed on the batch's device and that nothing synchronizes with it by
reading a value. tests/cuda runs on a real GPU. Needs torch 2.14: 2.6 crashes at the first in-place operation.
"""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import vgg16_bn, vgg19, vgg19_bn

from descreen.config import CoarseLossConfig, DetailsLossConfig
from descreen.losses import GramLoss
from descreen.objectives import CoarseObjective, DetailsObjective, EdgeObjective
from descreen.system import Descreener
from model.constants import kept
from model.loss import PerceptualLoss
from model.noise import KINDS
from model.objectives import InverseHalfObjective, JointObjective, WarmObjective
from model.reshalf import InverseHalf, ResHalf
from training import loss_meter

pytest.importorskip("torch", minversion="2.14")

WEIGHTS = {"tone": 0.6, "quantize": 0.1, "structure": 0.1, "blue_noise": 0.3}
PRIORS = {"no prior": None, "corrected prior": {"correction": True}, "prior": {}}
PARTS = ("coarse", "edge", "details")


def warm():
    return WarmObjective(ResHalf(4, levels=1), WEIGHTS | {"feature": 1.0}, InverseHalf(4))


def warm_with_start(kind):
    network = ResHalf(4, levels=1, noise=kind)
    return WarmObjective(network, WEIGHTS | {"feature": 0.0}, None, start="orientation", start_weight=0.1)


def decoder_alone(kind):
    weights = WEIGHTS | {"restore": 1.0, "chroma": 0.1, "perceptual": 0.0}
    network = ResHalf(4, levels=1, noise=kind)
    return JointObjective(network, weights, freeze="encoder", decoder_input="orientation")


def joint(prior, decoder):
    perceptual = PerceptualLoss(vgg19().state_dict())
    weights = WEIGHTS | {"restore": 1.0, "chroma": 0.1, "perceptual": 0.1}
    return JointObjective(ResHalf(4, prior, 1, decoder), weights, "psnr", perceptual, bit_flip=0.1)


def coarse(kind, waves):
    network = Descreener(8, kind=kind, waves=waves)
    return CoarseObjective(network, CoarseLossConfig(psnr=1.0), GramLoss("vgg16_bn", vgg16_bn().state_dict()))


def details(objects):
    gram = GramLoss("vgg19_bn", vgg19_bn().state_dict(), 14)
    return DetailsObjective(Descreener(8, PARTS, objects), DetailsLossConfig(), gram)


OBJECTIVES = {
    "extractor": lambda: InverseHalfObjective(InverseHalf(4)),
    "warm": warm,
    **{f"warm with start, {kind}": lambda kind=kind: warm_with_start(kind) for kind in KINDS},
    **{f"decoder alone, {kind}": lambda kind=kind: decoder_alone(kind) for kind in KINDS},
    **{
        f"joint, {name}, {decoder}": lambda prior=prior, decoder=decoder: joint(prior, decoder)
        for name, prior in PRIORS.items()
        for decoder in ("hourglass", "subpixel")
    },
    **{f"coarse, {kind}": lambda kind=kind: coarse(kind, waves=True) for kind in ("unet", "residual")},
    "edge": lambda: EdgeObjective(Descreener(8, PARTS[:2])),
    **{f"details, {objects}": lambda objects=objects: details(objects) for objects in ("none", "small")},
}


def move_to_fake_gpu(objective):
    """Replace weights and buffers by fake tensors on the GPU."""
    for module in objective.modules():
        for held in (module._parameters, module._buffers):
            for name, value in held.items():
                if value is not None:
                    there = torch.empty(value.shape, dtype=value.dtype, device="cuda")
                    learns = value.requires_grad
                    held[name] = nn.Parameter(there, learns) if held is module._parameters else there


def batch(network):
    if isinstance(network, Descreener):
        channels = {"scan": 7 if network.settings["waves"] else 3, "colour": 3, "edges": 1}
    else:
        kinds = {"colour": 3, "reference": 1} | ({"prior": 1} if getattr(network, "prior", None) else {})
        channels = {prefix + name: count for name, count in kinds.items() for prefix in ("", "special_")}
    return {name: torch.randn(2, count, 64, 64, device="cuda") for name, count in channels.items()}


class Copies(TorchDispatchMode):
    """Fails at a copy to the GPU that blocks the host; with `recorded` at every copy to the GPU."""

    def __init__(self, recorded=False):
        super().__init__()
        self.recorded = recorded

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        if function is torch.ops.aten._to_copy.default:
            to = torch.device(keywords.get("device") or arguments[0].device)
            copied = arguments[0].device.type == "cpu" and to.type == "cuda"
            assert not (copied and (self.recorded or not keywords.get("non_blocking"))), "a blocking copy to the GPU"
        return function(*arguments, **keywords)


@pytest.fixture(autouse=True)
def own_constants():
    """A cached tensor belongs to its mode."""
    kept.cache_clear()
    yield
    kept.cache_clear()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_training_step_stays_on_the_gpu_without_synchronizing(name, monkeypatch):
    monkeypatch.setattr(loss_meter, "_copy_to_host", lambda values: (values, None))  # CUDA events cannot be simulated
    with torch.device("meta"):
        objective = OBJECTIVES[name]()
    with FakeTensorMode():
        move_to_fake_gpu(objective)
        data = batch(objective.network)
        with Copies():
            drawn = objective.draw(data)
            terms = objective(drawn)
            sums = loss_meter.LossMeter(SimpleNamespace(device=torch.device("cuda"), world_size=1))
            sums.add(1, terms, stop_requested=False)
        assert {value.device.type for value in terms.values()} == {"cuda"}
        assert all(value.shape == () for value in terms.values())
        assert {value.device.type for value in objective.predict(data).values()} == {"cuda"}
        with Copies(recorded=True):  # a CUDA graph cannot contain one
            objective(drawn)
