"""Quality metrics of halftones and restorations. Each docstring states filter, border and range.

Images are numpy arrays, (H, W) or (H, W, 3) BGR, either uint8 with white at 255 or float with white at 1. A halftone is
(H, W) uint8 {0, 255}. PSNR has peak 1 and is infinite for equal images. All sums are in float64; SSIM and tone PSNR run
over bands of rows, so that their memory does not grow with the height.
"""

import math
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from utils.colour import BT601_BGR, CB_SCALE, CR_SCALE

SIZE = 11
"""Taps a side of the Gaussian filters; images with a shorter side have no valid region."""
SSIM_SIGMA = 1.5
BAND_ROWS = 128


def _unit(image: np.ndarray) -> np.ndarray:
    """uint8 0..255 or float [0, 1] → float64 [0, 1], shape kept."""
    if image.dtype == np.uint8:
        return image / 255.0
    if not np.issubdtype(image.dtype, np.floating):
        raise TypeError(f"an image is uint8 or float in [0, 1], not {image.dtype}")
    return image.astype(np.float64, copy=False)


def _decibels(mean_square: float) -> float:
    return -10.0 * math.log10(mean_square) if mean_square > 0 else math.inf


def gray_of(bgr: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR → (H, W) float64 [0, 1]: luma by ITU-R BT.601, not rounded."""
    return _unit(bgr) @ np.array(BT601_BGR)


def chroma_of(bgr: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR → (H, W, 2) float64 in ±0.5: Cb and Cr by ITU-R BT.601, full range."""
    unit = _unit(bgr)
    luma = gray_of(bgr)
    return np.stack([CB_SCALE * (unit[..., 0] - luma), CR_SCALE * (unit[..., 2] - luma)], axis=-1)


def mean_chroma(bgr: np.ndarray) -> float:
    """Mean of √(Cb² + Cr²) over the pixels of (H, W, 3) BGR, in levels of 0..255: 0 for a gray image."""
    return float(255.0 * np.hypot(*np.moveaxis(chroma_of(bgr), -1, 0)).mean())


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB of two images of one shape, over all pixels and channels.

    Raises ValueError for different shapes, TypeError for integers other than uint8.
    """
    _check_shapes(a.shape, b.shape)
    peak = 255
    if not a.dtype == b.dtype == np.uint8:
        a, b, peak = _unit(a), _unit(b), 1
    return _decibels(cv2.norm(a, b, cv2.NORM_L2SQR) / a.size / peak**2)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity (Wang et al. 2004): Gaussian window 11×11, σ 1.5, range 1, population covariance.

    Over the valid region (5 pixels off every side), mean over the channels of (H, W, 3). Raises ValueError for
    different shapes and for a side below 11.
    """
    _check_shapes(a.shape, b.shape)
    _check_side(a.shape, SIZE)
    c1, c2 = 0.01**2, 0.03**2
    taps = cv2.getGaussianKernel(SIZE, SSIM_SIGMA, cv2.CV_64F)

    def blur(x: np.ndarray) -> np.ndarray:
        return _valid(cv2.sepFilter2D(x, cv2.CV_64F, taps, taps), SIZE)

    total, count = 0.0, 0
    for band in _bands(len(a), SIZE):
        x, y = _unit(a[band]), _unit(b[band])
        mean_x, mean_y = blur(x), blur(y)
        product, square = mean_x * mean_y, mean_x**2 + mean_y**2
        covariance, variance = blur(x * y) - product, blur(x * x + y * y) - square
        quality = (2 * product + c1) * (2 * covariance + c2) / ((square + c1) * (variance + c2))
        total, count = total + float(quality.sum()), count + quality.size
    return total / count


def tone_psnr(halftone: np.ndarray, target: np.ndarray, sigma: float = 1.5) -> float:
    """PSNR in dB of halftone (H, W) {0, 255} against gray (H, W) or the luma of (H, W, 3) BGR, both low-pass filtered.

    The filter is a Gaussian of 11×11 taps, standard deviation `sigma` pixels, sum 1. Valid region, range [0, 1].
    Raises ValueError for different shapes and for a side below 11.
    """
    taps = cv2.getGaussianKernel(SIZE, sigma, cv2.CV_64F)
    return _filtered_psnr(halftone, target, SIZE, lambda error: cv2.sepFilter2D(error, cv2.CV_64F, taps, taps))


def perceived_psnr(halftone: np.ndarray, target: np.ndarray, spread: np.ndarray) -> float:
    """`tone_psnr` under any point spread function: (K, K) float, K odd, symmetric, sum 1."""
    return _filtered_psnr(halftone, target, len(spread), lambda error: cv2.filter2D(error, cv2.CV_64F, spread))


def _filtered_psnr(
    halftone: np.ndarray, target: np.ndarray, size: int, blur: Callable[[np.ndarray], np.ndarray]
) -> float:
    _check_shapes(halftone.shape, target.shape[:2])
    _check_side(halftone.shape, size)
    total, count = 0.0, 0
    for band in _bands(len(halftone), size):
        gray = gray_of(target[band]) if target.ndim == 3 else _unit(target[band])
        # The filter is linear: the difference of both filtered images is the filtered difference.
        error = _valid(blur(_unit(halftone[band]) - gray), size)
        total, count = total + float(np.square(error).sum()), count + error.size
    return _decibels(total / count)


def _check_shapes(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    if first != second:
        raise ValueError(f"images differ in shape: {first} and {second}")


def _check_side(shape: tuple[int, ...], size: int) -> None:
    if min(shape[:2]) < size:
        raise ValueError(f"an image of {shape} has no valid region under a {size}×{size} filter")


def _bands(rows: int, size: int) -> Iterator[slice]:
    """Row slices whose valid regions under a filter of `size` rows tile the valid region of the image."""
    for top in range(0, rows - size + 1, BAND_ROWS):
        yield slice(top, min(top + BAND_ROWS + size - 1, rows))


def _valid(filtered: np.ndarray, size: int) -> np.ndarray:
    inside = slice(size // 2, -(size // 2) or None)
    return filtered[inside, inside]


def ciede2000(a: np.ndarray, b: np.ndarray) -> float:
    """Mean CIEDE2000 colour difference of two (H, W, 3) BGR images, read as sRGB under D65 (Sharma et al. 2005)."""
    return float(deltaE_ciede2000(rgb2lab(_unit(a)[..., ::-1]), rgb2lab(_unit(b)[..., ::-1])).mean())


def restoration_metrics(photo_bgr: np.ndarray, restored_bgr: np.ndarray) -> dict[str, float]:
    """Metrics of a restored image against its photo, both (H, W, 3) BGR; PSNR in dB over the three channels together.

    luma_psnr is that of `gray_of`, chroma_psnr that of both planes of `chroma_of`, peak 1 for each.
    """
    return {
        "psnr": psnr(photo_bgr, restored_bgr),
        "ssim": ssim(photo_bgr, restored_bgr),
        "luma_psnr": psnr(gray_of(photo_bgr), gray_of(restored_bgr)),
        "chroma_psnr": psnr(chroma_of(photo_bgr), chroma_of(restored_bgr)),
        "ciede2000": ciede2000(photo_bgr, restored_bgr),
    }
