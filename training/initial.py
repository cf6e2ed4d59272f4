"""Initial weights of a training from the checkpoint of another run."""

from collections.abc import Sequence

from torch import Tensor, nn

from utils.checkpoint import read_checkpoint
from utils.errors import UserError


def load_initial(network: nn.Module, path: str, excluded: Sequence[str] = ()) -> list[str]:
    """Load the weights of a checkpoint into `network`; returns the parts that are missing in the checkpoint.

    A part is a direct child of the network, such as encoder and decoder. Missing and `excluded` parts stay as they are,
    and so do missing modules that initially are the identity (`starts_as_identity`): a network can get more blocks.
    Raises UserError when the others do not fit.
    """
    try:
        state = _without(read_checkpoint(path)["state_dict"], excluded)
    except UserError as error:
        raise UserError(f"initial_ckpt: {error}") from None
    own = network.state_dict()
    wanted = _without(own, excluded)
    available = {_part(key) for key in state}
    added = _added_identities(network, state)
    kept = {key: value for key, value in wanted.items() if _part(key) not in available or key.startswith(added)}
    try:
        if kept.keys() == wanted.keys():
            raise RuntimeError("no weights of this network")
        network.load_state_dict(state | kept | {key: own[key] for key in own.keys() - wanted.keys()})
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"initial_ckpt: {path} does not fit the configured network: {reason}") from None
    return sorted({_part(key) for key in kept} - available)


def _added_identities(network: nn.Module, state: dict[str, Tensor]) -> tuple[str, ...]:
    """Prefixes of the modules that initially are the identity and of which `state` has nothing."""
    names = (f"{name}." for name, module in network.named_modules() if getattr(module, "starts_as_identity", False))
    return tuple(name for name in names if not any(key.startswith(name) for key in state))


def _without(state: dict[str, Tensor], excluded: Sequence[str]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if _part(key) not in excluded}


def _part(key: str) -> str:
    return key.split(".")[0]
