"""Validation of gray images, with one-line error messages."""

import numpy as np

MAX_LEVEL = 255.0


def as_gray(gray: np.ndarray, *, bounded: bool = True) -> np.ndarray:
    """Return `gray` (H, W), uint8 or floating in 0..255, as contiguous uint8 or float64, without a copy where possible.

    `bounded=False` also accepts finite floats outside 0..255 (a composite signal).
    Raises TypeError for another type or dtype, ValueError for another shape, NaN, infinity or a value out of range.
    """
    if not isinstance(gray, np.ndarray) or (gray.dtype != np.uint8 and gray.dtype.kind != "f"):
        kind = gray.dtype if isinstance(gray, np.ndarray) else type(gray).__name__
        raise TypeError(f"gray must be a uint8 or floating array, not {kind}")
    if gray.ndim != 2 or gray.size == 0:
        raise ValueError(f"gray must have shape (H, W) with at least one pixel, not {gray.shape}")
    if gray.dtype == np.uint8:
        return np.ascontiguousarray(gray)
    gray = np.ascontiguousarray(gray, dtype=np.float64)
    low, high = gray.min(), gray.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("gray must be finite")
    if bounded and (low < 0 or high > MAX_LEVEL):
        raise ValueError(f"gray must lie in 0..255, not {low:g}..{high:g}")
    return gray
