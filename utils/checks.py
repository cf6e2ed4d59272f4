"""Checks of 8-bit images."""

import numpy as np


def check_pixels(name: str, image: np.ndarray, channels: int) -> None:
    """Raise ValueError unless `image` is uint8 (H, W) for 1 channel or (H, W, channels), with at least one pixel."""
    if image is None:
        raise ValueError(f"{name} is not an image but None, as cv2.imread returns for a file that it cannot read")
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{name} is not an image: a numpy array is required, not {type(image).__name__}")
    rest = () if channels == 1 else (channels,)
    if image.dtype != np.uint8 or image.ndim != 2 + len(rest) or image.shape[2:] != rest or not image.size:
        shape = ", ".join(map(str, ("H", "W", *rest)))
        raise ValueError(f"{name} must be an image, uint8 ({shape}), not {image.dtype} {image.shape}")
