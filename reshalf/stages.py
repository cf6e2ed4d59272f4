"""ResHalf's three trainings: config → objective, which training.trainer minimises."""

from torch import nn

from model.hourglass import keep_variance, zero_last_layer
from model.load import load_network
from model.loss import PerceptualLoss
from model.objectives import InverseHalfObjective, JointObjective, WarmObjective
from model.reshalf import InverseHalf, ResHalf
from reshalf.config import InvHalfConfig, JointConfig, ResHalfConfig, WarmConfig
from training.pretrained import vgg_weights
from utils.errors import UserError


def build_invhalf(config: InvHalfConfig) -> InverseHalfObjective:
    """Stage 0: an untrained InverseHalf, halftone → gray, on the CPU."""
    network = InverseHalf(config.width)
    if config.initialWeights == "variance":
        keep_variance(network)
    return InverseHalfObjective(network, config.restoreLoss, config.restoreLossWeight)


def build_warm(config: WarmConfig) -> WarmObjective:
    """Stage 1: an untrained ResHalf and the trained extractor, on the CPU. Raises UserError without an extractor."""
    extractor = _load_extractor(config.extractor_ckpt) if config.featureLossWeight else None
    return warm_objective(config, new_reshalf(config), extractor)


def build_joint(config: JointConfig) -> JointObjective:
    """Stage 2: an untrained ResHalf and, if its term has a weight, VGG19, on the CPU.

    Raises UserError when the weights of VGG19 or of the proxy cannot be loaded.
    """
    network = new_reshalf(config)
    vgg = PerceptualLoss(vgg_weights("vgg19", config.vgg_weights)) if config.vggLossWeight else None
    return joint_objective(config, network, vgg)


def warm_objective(config: WarmConfig, network: ResHalf, extractor: InverseHalf | None) -> WarmObjective:
    """Objective of the warm-up with the term weights of `config`."""
    weights = _halftone_weights(config) | {"feature": config.featureLossWeight}
    start = config.start
    return WarmObjective(
        network,
        weights,
        extractor,
        config.guidance,
        config.freeze,
        config.quantizedTone,
        start.target,
        start.steps,
        start.weight,
        config.driftGuard,
    )


def joint_objective(config: JointConfig, network: ResHalf, vgg: nn.Module | None) -> JointObjective:
    """Objective of the joint training with the term weights of `config`; `vgg` is a PerceptualLoss."""
    weights = _halftone_weights(config) | {
        "restore": config.restoreLossWeight,
        "chroma": config.chromaLossWeight,
        "perceptual": config.vggLossWeight,
    }
    return JointObjective(
        network,
        weights,
        config.restoreLoss,
        vgg,
        config.freeze,
        config.quantizedTone,
        config.bitFlip,
        config.decoderInput,
        config.driftGuard,
    )


def new_reshalf(config: ResHalfConfig) -> ResHalf:
    """The untrained ResHalf of a config; a guided prior gets the proxy of `proxy_ckpt`.

    Raises ValueError or UserError, one line, when the proxy is missing or does not fit; for a guide without prior.
    """
    network = ResHalf(config.width, config.prior, config.levels, config.decoder, config.blocks, config.noise)
    if config.initialWeights == "variance" and network.prior is None:
        keep_variance(network)
        zero_last_layer(network.decoder)
    if network.prior is None and config.guide_ckpt is not None:
        raise ValueError("guide_ckpt needs a prior: without one there is no halftone search to guide")
    source = _load_proxy(config.proxy_ckpt) if config.proxy_ckpt is not None else None
    if network.proxy is not None:
        if source is None:
            raise ValueError("prior.guidance needs proxy_ckpt, a trained network with a proxy or a subpixel decoder")
        try:
            network.take_proxy(source)
        except ValueError as error:
            raise ValueError(f"proxy_ckpt: {config.proxy_ckpt}: {error}") from None
    return network


def _halftone_weights(config: ResHalfConfig) -> dict[str, float]:
    return {
        "tone": config.toneLossWeight,
        "quantize": config.quantizeLossWeight,
        "structure": config.structureLossWeight,
        "blue_noise": config.blueNoiseLossWeight,
    }


def _load_extractor(path: str) -> InverseHalf:
    try:
        extractor = load_network(path)
    except UserError as error:
        raise UserError(f"extractor_ckpt: {error}; train_invhalf.py makes one") from None
    if not isinstance(extractor, InverseHalf):
        raise UserError(f"extractor_ckpt: {path} is not an InverseHalf; train_invhalf.py makes one")
    return extractor


def _load_proxy(path: str) -> nn.Module:
    try:
        return load_network(path)
    except UserError as error:
        remedy = "train.py --config scripts/reshalf_proxy.json makes one, and the shipped checkpoint contains one"
        raise UserError(f"proxy_ckpt: {error}; {remedy}") from None
