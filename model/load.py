"""Build the network of a checkpoint."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from model.reshalf import InverseHalf, ResHalf
from utils.checkpoint import read_checkpoint
from utils.errors import UserError

NETWORKS: dict[str, type[nn.Module]] = {"ResHalf": ResHalf, "InverseHalf": InverseHalf}
"""Classes by the "name" in a checkpoint's "arch"; each has `from_arch(arch)`, the inverse of its `arch()`."""
# The original's checkpoints have no "arch": a key unique to each network, whose first dimension is the width.
_IDENTIFYING_KEYS = {"ResHalf": "decoder.inConv.inConv.0.weight", "InverseHalf": "net.inConv.inConv.0.weight"}


def register_network(network: type[nn.Module]) -> type[nn.Module]:
    """Class decorator: register a network for `load_network` by its class name."""
    NETWORKS[network.__name__] = network
    return network


def load_network(path: str | Path) -> nn.Module:
    """The network in a checkpoint file: evaluation mode, float32, on the CPU. Raises UserError naming the file."""
    checkpoint = read_checkpoint(path)
    try:
        return build_network(checkpoint)
    except (ValueError, TypeError, AttributeError, KeyError, RuntimeError) as error:  # of invalid settings
        raise UserError(f"{path}: {str(error).splitlines()[0]}") from None


def build_network(checkpoint: dict[str, Any]) -> nn.Module:
    """Rebuild the network of a checkpoint {"state_dict": …, "arch": …}, in evaluation mode, float32.

    Without "arch" (the original's checkpoints) key names identify the network and shapes its width. Half-precision
    weights are converted to float32. Raises ValueError, one line, for anything that does not fit.
    """
    state = checkpoint.get("state_dict")
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError("not a checkpoint of this project: it has no state_dict of tensors")
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    arch = checkpoint.get("arch")
    if not isinstance(arch, dict):  # other programs store a name there
        arch = _identify(state)
    if arch.get("name") not in NETWORKS:
        raise ValueError(f"unknown network {arch.get('name')!r}; known are {', '.join(NETWORKS)}")
    if not isinstance(arch.get("width"), int):
        raise ValueError(f"the width of a {arch['name']} must be an integer, not {arch.get('width')!r}")
    network = NETWORKS[arch["name"]].from_arch(arch)
    check_weights(network.state_dict(), state)
    network.load_state_dict(state)
    return network.eval()


def _identify(state: dict[str, Tensor]) -> dict[str, Any]:
    for name, key in _IDENTIFYING_KEYS.items():
        if key in state:
            return {"name": name, "width": state[key].shape[0]}
    raise ValueError(f"other architecture, neither ResHalf nor InverseHalf: its first key is {next(iter(state))!r}")


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
        problems.append(f"{len(shapes)} of wrong shape ({_few(shapes)})")
    if problems:
        raise ValueError("weights do not fit the network: " + "; ".join(problems))
    broken = [key for key, value in found.items() if not value.isfinite().all()]
    if broken:
        raise ValueError(f"weights are not finite: {_few(broken)}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
