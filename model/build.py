"""From a checkpoint's dict to the network it holds."""

from torch import Tensor, nn

from .prior import Prior
from .reshalf import InverseHalf, ResHalf

NETWORKS: dict[str, type[nn.Module]] = {"ResHalf": ResHalf, "InverseHalf": InverseHalf}


def build_network(checkpoint: dict) -> nn.Module:
    """Rebuild the network of a checkpoint {"state_dict": …, "arch": …}, in evaluation mode, float32.

    Without "arch" (the original's checkpoints) the kind is told by the key names and the width by the shapes; a leading
    "module." is dropped. Half-precision weights are widened. ValueError says in one line what does not fit.
    """
    state = checkpoint.get("state_dict")
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("not a checkpoint of this project: it has no state_dict of tensors")
    state = {key.removeprefix("module."): value.float() for key, value in state.items()}
    arch = checkpoint.get("arch")
    network = _empty(arch if isinstance(arch, dict) else _guess(state))  # others store the name of theirs there
    check_weights(network.state_dict(), state)
    network.load_state_dict(state)
    return network.eval()


def new_reshalf(config, proxy: ResHalf | None = None) -> ResHalf:
    """The untrained ResHalf of a config (utils.config: WarmConfig or JointConfig).

    proxy  a trained network that hands on its proxy or decoder (`ResHalf.take_proxy`), where the prior asks for
           guidance. ValueError in one line when it is missing there or does not fit.
    """
    network = ResHalf(config.width, config.prior, config.levels, config.decoder, config.blocks)
    if network.proxy is not None:
        if proxy is None:
            raise ValueError("prior.guidance needs proxy_ckpt, a trained network with a proxy or a subpixel decoder")
        try:
            network.take_proxy(proxy)
        except ValueError as error:
            raise ValueError(f"proxy_ckpt: {config.proxy_ckpt}: {error}") from None
    return network


def _empty(arch: dict) -> nn.Module:
    if arch.get("name") not in NETWORKS:
        raise ValueError(f"unknown network {arch.get('name')!r}; known are {', '.join(NETWORKS)}")
    if not isinstance(arch.get("width"), int):
        raise ValueError(f"a {arch['name']} of width {arch.get('width')!r}")
    settings = {"width": arch["width"]}
    if arch.get("prior"):
        settings["prior"] = Prior.from_dict(arch["prior"])
    settings |= {key: arch[key] for key in ("levels", "decoder", "blocks") if key in arch}
    return NETWORKS[arch["name"]](**settings)


def _guess(state: dict[str, Tensor]) -> dict:
    for name, key in (("ResHalf", "decoder.inConv.inConv.0.weight"), ("InverseHalf", "net.inConv.inConv.0.weight")):
        if key in state:
            return {"name": name, "width": state[key].shape[0]}
    raise ValueError(f"other architecture: its first key is {next(iter(state))!r}, no ResHalf or InverseHalf has it")


def check_weights(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Raise a ValueError of one line unless `found` has the keys and shapes of `expected` and finite values."""
    problems = []
    for title, keys in (("missing", expected.keys() - found.keys()), ("unexpected", found.keys() - expected.keys())):
        if keys:
            problems.append(f"{len(keys)} {title} ({_few(sorted(keys))})")
    shapes = [
        f"{key} is {tuple(found[key].shape)}, not {tuple(value.shape)}"
        for key, value in expected.items()
        if key in found and found[key].shape != value.shape
    ]
    if shapes:
        problems.append(f"{len(shapes)} of another shape ({_few(shapes)})")
    if problems:
        raise ValueError("weights do not fit the network: " + "; ".join(problems))
    broken = [key for key, value in found.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"weights are not finite numbers: {_few(broken)}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
