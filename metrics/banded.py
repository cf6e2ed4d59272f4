"""The scores in the table of a run, in bands: quick, and in memory that does not grow with the photograph.

The same numbers as utils/metrics.py gives, to the digits shown: there in float64 for whole images, here in float32.
"""

import math
from collections.abc import Iterator

import cv2
import numpy as np

SIZE, SIGMA = 11, 1.5
BAND = 512


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB of two uint8 images of one shape over all pixels and channels; infinite when they are equal."""
    error = cv2.norm(a, b, cv2.NORM_L2SQR) / a.size / 255**2
    return -10 * math.log10(error) if error > 0 else math.inf


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity of two uint8 (H, W, 3), sides of at least 11, as `metrics.ssim` defines it."""
    c1, c2 = 0.01**2, 0.03**2
    total = 0.0
    for band in _bands(len(a)):
        x, y = (np.float32(1 / 255) * image[band] for image in (a, b))
        mean_x, mean_y = _blur(x), _blur(y)
        product, square = mean_x * mean_y, mean_x**2 + mean_y**2
        covariance, variance = _blur(x * y) - product, _blur(x * x + y * y) - square
        quality = (2 * product + c1) * (2 * covariance + c2) / ((square + c1) * (variance + c2))
        total += float(quality.sum(dtype=np.float64))
    return total / ((a.shape[0] - SIZE + 1) * (a.shape[1] - SIZE + 1) * a.shape[2])


def tone_psnr(halftone: np.ndarray, bgr: np.ndarray) -> float:
    """`metrics.tone_psnr` at σ 1.5 of a halftone (H, W) {0, 255} against the gray of (H, W, 3) BGR uint8."""
    weights = np.array([[0.114, 0.587, 0.299]], np.float32)
    total = 0.0
    for band in _bands(len(bgr)):
        error = halftone[band] - cv2.transform(bgr[band].astype(np.float32), weights)
        total += float(np.square(_blur(error / 255)).sum(dtype=np.float64))
    mean = total / ((bgr.shape[0] - SIZE + 1) * (bgr.shape[1] - SIZE + 1))
    return -10 * math.log10(mean) if mean > 0 else math.inf


def _bands(rows: int) -> Iterator[slice]:
    """Slices whose valid regions under the kernel tile the valid region of the image."""
    for top in range(0, rows - SIZE + 1, BAND):
        yield slice(top, min(top + BAND + SIZE - 1, rows))


def _blur(x: np.ndarray) -> np.ndarray:
    line = cv2.getGaussianKernel(SIZE, SIGMA, cv2.CV_32F)
    inside = slice(SIZE // 2, -(SIZE // 2))
    return cv2.sepFilter2D(x, cv2.CV_32F, line, line)[inside, inside]
