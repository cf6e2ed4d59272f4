"""The low frequencies of the orthonormal two-dimensional discrete cosine transform (type II)."""

import math
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=16)
def _dct_rows(length: int, count: int) -> Tensor:
    """(count, length) float64: the first `count` rows of the orthonormal DCT-II matrix."""
    k = torch.arange(count, dtype=torch.float64).view(-1, 1)
    n = torch.arange(length, dtype=torch.float64)
    rows = torch.cos(math.pi * k * (2 * n + 1) / (2 * length)) * math.sqrt(2 / length)
    rows[0] /= math.sqrt(2)
    return rows


def low_frequency_dct(x: Tensor, count: int) -> Tensor:
    """Return the `count` × `count` lowest DCT-II coefficients of (N, C, H, W) as (N, C, count, count).

    count is clipped to H and W. Only the needed rows of the transform are multiplied.
    """
    height, width = x.shape[-2:]
    down = _dct_rows(height, min(count, height)).to(x.device, x.dtype)
    along = _dct_rows(width, min(count, width)).to(x.device, x.dtype)
    return down @ x @ along.T
