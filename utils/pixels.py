"""Conversion between 8-bit images and tensors in [-1, 1]."""

import numpy as np
import torch
from torch import Tensor


def to_tensor(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) or (H, W) → float32 (1, C, H, W) in [-1, 1]: x / 127.5 - 1."""
    writable = np.require(image, requirements=["C", "W"])  # torch warns about read-only arrays
    planes = torch.from_numpy(writable).reshape(*image.shape[:2], -1).permute(2, 0, 1)[None]
    return planes.to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def to_uint8(tensor: Tensor) -> np.ndarray:
    """(C, H, W) or (1, C, H, W) in [-1, 1] → uint8 (H, W, C), or (H, W) when C is 1.

    (x / 2 + 0.5) · 255, saturated, rounded half to even.
    """
    if tensor.ndim == 4:
        if tensor.shape[0] != 1:
            raise ValueError(f"one image is needed, not a batch of {tensor.shape[0]}")
        tensor = tensor[0]
    levels = (tensor.detach().float() / 2 + 0.5).mul_(255).round_().clamp_(0, 255).to(torch.uint8)
    if levels.shape[0] == 1:
        return levels[0].cpu().numpy()
    return levels.permute(1, 2, 0).contiguous().cpu().numpy()
