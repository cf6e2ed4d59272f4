"""Checkpoint files: atomic writes, reading without executing pickled code."""

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils.errors import UserError
from utils.files import atomic_write

LAST, PREVIOUS, BEST = "model_last.pth.tar", "model_prev.pth.tar", "model_best.pth.tar"

# Types of the numpy numbers in checkpoints of the released system (`monitor_best`).
_NUMPY_NUMBERS = [
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
]


class BrokenCheckpoint(UserError):
    """The file exists but is truncated, damaged or not a checkpoint."""


def write_checkpoint(path: str | Path, checkpoint: dict[str, Any]) -> None:
    """Write atomically. Raises UserError naming the file, whose old content is kept, for example on a full disk."""
    try:
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            torch.save(checkpoint, file)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError for a short write
        reason = getattr(error, "strerror", None) or _root_reason(error)
        kept = ", the checkpoint before it is kept" if Path(path).exists() else ""
        raise UserError(f"{path}: cannot write the checkpoint: {reason}{kept}") from None


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint dict onto the CPU with `weights_only=True`: tensors and plain values, never code.

    A bare state dict is returned as {"state_dict": ...}. Raises UserError when the file is missing and
    BrokenCheckpoint (a UserError) when it is truncated, damaged, not a checkpoint or contains other Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file")
    try:
        with open(path, "rb") as file:
            file.read(1)
    except OSError as error:
        raise UserError(f"{path}: cannot read the checkpoint: {error.strerror}") from None
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise BrokenCheckpoint(f"{path}: damaged checkpoint: wrong checksum in {damaged}")
        with torch.serialization.safe_globals(_NUMPY_NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about the pickle protocol of other files
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except BrokenCheckpoint:
        raise
    except Exception as error:  # the unpickler raises many types for other files
        if isinstance(error, pickle.UnpicklingError) and " GLOBAL " in str(error):
            reason = (
                "refused: contains Python objects other than tensors and plain values, whose loading would run code"
            )
        else:
            reason = "not a checkpoint, or a truncated one"
        raise BrokenCheckpoint(f"{path}: {reason}") from None
    if not isinstance(checkpoint, dict):
        raise BrokenCheckpoint(f"{path}: not a checkpoint: contains a {type(checkpoint).__name__}, not a dict")
    if "state_dict" not in checkpoint:
        if not checkpoint or not all(isinstance(value, Tensor) for value in checkpoint.values()):
            raise BrokenCheckpoint(f"{path}: not a checkpoint: no state_dict inside")
        checkpoint = {"state_dict": checkpoint}
    state = checkpoint["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise BrokenCheckpoint(f"{path}: not a checkpoint: its state_dict is not a dict of names")
    checkpoint["state_dict"] = strip_prefixes(state)
    return checkpoint


def strip_prefixes(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the names that wrappers insert into keys.

    `_orig_mod.` of torch.compile is removed anywhere, since single parts may have been compiled; `module.` of
    DataParallel only where every key begins with it.
    """
    state_dict = {key.replace("_orig_mod.", ""): value for key, value in state_dict.items()}
    if state_dict and all(key.startswith("module.") for key in state_dict):
        state_dict = {key.removeprefix("module."): value for key, value in state_dict.items()}
    return state_dict


def _root_reason(error: BaseException) -> str:
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error).splitlines()[0]
