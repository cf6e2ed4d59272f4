"""Low frequencies of the orthonormal two-dimensional discrete cosine transform (type II)."""

import numpy as np
from torch import Tensor

from model.constants import constant


def _dct_rows(length: int, count: int) -> np.ndarray:
    """(count, length) float64: the first `count` rows of the orthonormal DCT-II matrix."""
    k, n = np.arange(count)[:, None], np.arange(length)
    rows = np.cos(np.pi * k * (2 * n + 1) / (2 * length)) * np.sqrt(2 / length)
    rows[0] /= np.sqrt(2)
    return rows


def low_frequency_dct(x: Tensor, count: int) -> Tensor:
    """Return the `count` × `count` lowest DCT-II coefficients of (N, C, H, W) as (N, C, count, count).

    count is clipped to H and W. Only those rows of the transform are computed.
    """
    height, width = x.shape[-2:]
    down, along = (
        constant(_dct_rows, side, min(count, side), device=x.device, dtype=x.dtype) for side in (height, width)
    )
    return down @ x @ along.T
