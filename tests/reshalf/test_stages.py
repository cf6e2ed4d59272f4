"""From configs to objectives."""

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from dataset.batches import BatchStream
from dataset.photo_set import PhotoSet
from model.objectives import InverseHalfObjective, JointObjective, WarmObjective
from model.reshalf import InverseHalf, ResHalf
from reshalf.config import InvHalfConfig, JointConfig, WarmConfig
from reshalf.stages import build_invhalf, build_joint, new_reshalf, warm_objective
from reshalf.streams import halftone_streams
from training.config import parse_config
from utils.checkpoint import write_checkpoint
from utils.errors import UserError

HALFTONE = {"tone": 0.6, "structure": 0.0, "blue_noise": 0.3}


def test_variance_preserving_initial_weights_are_those_of_both_hourglasses():
    kinds = ("torch", "variance")
    default, variance = (new_reshalf(parse_config(JointConfig, {"width": 8, "initialWeights": kind})) for kind in kinds)
    for name in ("encoder", "decoder"):
        weights = [getattr(network, name).down1[1].conv[0].weight for network in (default, variance)]
        assert weights[1].std() > 2 * weights[0].std()
        assert weights[1].std().item() == pytest.approx((2 / (9 * 16)) ** 0.5, rel=0.1)
    halftone = torch.ones(1, 1, 16, 16)  # without a zero output layer the decoder of some seeds dies in 50 steps
    assert variance.decode(halftone).abs().max() == 0 < default.decode(halftone).abs().max()
    extractor = build_invhalf(parse_config(InvHalfConfig, {"width": 8, "initialWeights": "variance"})).network
    assert not extractor.net.residual[0].conv[-1].weight.any()


def test_the_noise_and_the_start_are_those_of_the_config():
    start = {"steps": 3, "target": "orientation", "weight": 0.2}
    config = parse_config(WarmConfig, {"width": 4, "noise": "blue", "start": start})
    warm = warm_objective(config, new_reshalf(config), InverseHalf(4))
    assert warm.network.arch()["noise"] == "blue"
    assert (warm.start, warm.start_steps, warm.start_weight) == ("orientation", 3, 0.2)


def test_objectives_are_built_from_configs():
    config = {"width": 4, "vggLossWeight": 0, "restoreLoss": "l1_loss", "bitFlip": 0.1}
    joint = build_joint(parse_config(JointConfig, config))
    assert isinstance(joint, JointObjective) and joint.network.width == 4 and joint.bit_flip == 0.1
    assert joint.weights == HALFTONE | {"quantize": 0.1, "restore": 1.0, "chroma": 0.0, "perceptual": 0.0}
    warm = warm_objective(parse_config(WarmConfig, {}), ResHalf(4), InverseHalf(4))
    assert isinstance(warm, WarmObjective) and warm.weights == HALFTONE | {"quantize": 0.2, "feature": 1.0}
    assert isinstance(build_invhalf(parse_config(InvHalfConfig, {"width": 4})), InverseHalfObjective)


@pytest.fixture
def config(tmp_path):
    """Function: network → config with its checkpoint as proxy_ckpt."""

    def make(network=None, **changes):
        values = {"width": 4, "levels": 1, "prior": {"guidance": 0.05}}
        if network is not None:
            values["proxy_ckpt"] = str(tmp_path / "a.pth.tar")
            write_checkpoint(values["proxy_ckpt"], {"state_dict": network.state_dict(), "arch": network.arch()})
        return parse_config(JointConfig, values | changes)

    return make


def test_a_guided_prior_gets_its_proxy_or_the_error_has_the_reason(config, proxy):
    guided = ResHalf(4, {"guidance": 0.05}, levels=1)
    guided.take_proxy(proxy)
    assert new_reshalf(config(proxy)).prior_key() == guided.prior_key()
    assert new_reshalf(config(proxy, prior=None)).proxy is None
    with pytest.raises(ValueError, match="guidance needs proxy_ckpt"):
        new_reshalf(config())
    for other in (ResHalf(4, {}, levels=1), ResHalf(4, levels=1, decoder="subpixel"), InverseHalf(4)):
        with pytest.raises(ValueError, match="a.pth.tar: neither a proxy nor a subpixel decoder"):
            new_reshalf(config(other))
    with pytest.raises(ValueError, match="a.pth.tar: .*size mismatch"):
        new_reshalf(config(proxy, prior={"guidance": 0.05, "proxy_width": 32}))
    with pytest.raises(ValueError, match="guide_ckpt needs a prior"):
        new_reshalf(config(prior=None, guide_ckpt="guide.pth.tar"))
    with pytest.raises(UserError, match="proxy_ckpt: .*none.pth.tar: no such checkpoint file; train.py --config"):
        new_reshalf(config(proxy_ckpt="none.pth.tar"))


def test_a_guide_halftones_its_share_of_the_training_photographs_alone(tmp_path, monkeypatch):
    for name, rounds in (("PROXY_ROUNDS", 1), ("BEST_ROUNDS", 1)):
        monkeypatch.setattr(f"model.reshalf.{name}", rounds)
    torch.manual_seed(0)
    settings = {"prior": {"guidance": 0.3, "guided_rounds": 1}, "decoder": "subpixel", "blocks": 1}
    guide = ResHalf(4, **settings)
    for decoder in (guide.proxy, guide.decoder):
        torch.nn.init.normal_(decoder.outConv[-1].weight, std=0.05)
    path = str(tmp_path / "guide.pth.tar")
    write_checkpoint(path, {"state_dict": guide.state_dict(), "arch": guide.arch()})
    values = {"width": 4, **settings, "proxy_ckpt": path, "guide_ckpt": path, "data_dir": str(tmp_path)}
    config = parse_config(JointConfig, values)
    network = new_reshalf(config)
    colour = np.random.default_rng(0).integers(0, 256, (12, 3, 24, 24), np.uint8)

    def stream():
        photos = PhotoSet.from_arrays(colour, np.zeros((12, 1, 24, 24), np.uint8))
        return BatchStream(photos, batch_size=12, shuffle=False, seed=0)

    fabric = Fabric(accelerator="cpu", devices=1)
    streams = halftone_streams(config, network, fabric, {"stream": stream(), "validation": stream()})
    made = [next(streams[name].batches(0))["prior"][:, 0].numpy() for name in ("stream", "validation")]
    by_proxy, by_guide = (
        np.stack([guide.prior_halftone(bgr, best=best) / 127.5 - 1 for bgr in np.moveaxis(colour, 1, -1)])
        for best in (False, True)
    )
    assert np.array_equal(made[1], by_proxy)
    guided = (made[0] != by_proxy).any(axis=(1, 2))
    assert 2 < guided.sum() < 10 and np.array_equal(made[0][guided], by_guide[guided])
    write_checkpoint(path, {"state_dict": ResHalf(4).state_dict(), "arch": ResHalf(4).arch()})
    with pytest.raises(UserError, match="guide_ckpt: .*guide.pth.tar: a ResHalf with a proxy and a subpixel decoder"):
        halftone_streams(config, network, fabric, {"stream": stream(), "validation": None})
