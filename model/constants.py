"""Constant tensors, made once for each device.

A copy from the host in every step costs the host time, and a CUDA graph (training/step_graph.py) cannot contain one.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def constant(values: Callable, *arguments, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """`values(*arguments)`, an array or nested list, as a tensor on `device`; the arguments must be hashable.

    The tensor is shared: it must not be changed. While torch compiles or exports, each call makes its own, which
    belongs to the graph.
    """
    make = _make if torch.compiler.is_compiling() else kept
    return make(values, arguments, device, dtype)


def _make(values: Callable, arguments: tuple, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # a tensor made in inference mode could not be used in a later training step
        return torch.from_numpy(np.array(values(*arguments))).to(dtype).to(device, non_blocking=True)


kept = lru_cache(maxsize=64)(_make)
"""The tensors that are shared."""
