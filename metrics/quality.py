"""How good a halftone and a restoration are, each number with its kernel, size, border and range stated.

Images are numpy arrays, (H, W) or (H, W, 3) in BGR order. uint8 stands for x / 255; floats are taken as [0, 1] already.
A halftone is (H, W) uint8 {0, 255}. PSNR has peak 1 and is infinite for equal images.
"""

import math

import cv2
import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from halftone.dbs import gaussian_filter
from halftone.eye import nasanen

RADIUS = 5  # of the filters that tone is seen through, pixels


def _unit(image: np.ndarray) -> np.ndarray:
    """uint8 0..255 or float [0, 1] → float64 [0, 1], shape kept."""
    if image.dtype == np.uint8:
        return image / 255.0
    if not np.issubdtype(image.dtype, np.floating):
        raise TypeError(f"an image is uint8 or float in [0, 1], not {image.dtype}")
    return image.astype(np.float64)


def gray_of(bgr: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR → (H, W) float64 [0, 1], 0.114 B + 0.587 G + 0.299 R (ITU-R BT.601), not rounded."""
    return _unit(bgr) @ np.array([0.114, 0.587, 0.299])


def chroma_of(bgr: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR → (H, W, 2) float64 Cb = 0.564 (B − Y), Cr = 0.713 (R − Y), in ±0.5 (ITU-R BT.601, full range)."""
    unit = _unit(bgr)
    luma = gray_of(bgr)
    return np.stack([0.564 * (unit[..., 0] - luma), 0.713 * (unit[..., 2] - luma)], axis=-1)


def mean_chroma(bgr: np.ndarray) -> float:
    """Mean of √(Cb² + Cr²) over the pixels of (H, W, 3) BGR, in levels of 0..255: 0 for a gray image."""
    return float(255.0 * np.hypot(*np.moveaxis(chroma_of(bgr), -1, 0)).mean())


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """−10 log10 of the mean squared difference of two images of one shape, in dB, over all pixels and channels."""
    if a.shape != b.shape:
        raise ValueError(f"images differ in shape: {a.shape} and {b.shape}")
    error = float(np.mean((_unit(a) - _unit(b)) ** 2))
    return -10.0 * math.log10(error) if error > 0 else math.inf


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean structural similarity, Wang et al. 2004: Gaussian window 11×11, σ 1.5, range 1, population covariance.

    Over the valid region (5 pixels off every side), mean over the channels of (H, W, 3). Sides of at least 11.
    """
    return float(
        structural_similarity(
            _unit(a),
            _unit(b),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            channel_axis=2 if a.ndim == 3 else None,
        )
    )


def _seen_psnr(halftone: np.ndarray, gray: np.ndarray, kernel: np.ndarray) -> float:
    if halftone.shape != gray.shape:
        raise ValueError(f"halftone {halftone.shape} and gray {gray.shape} differ in shape")
    size = kernel.shape[0]
    if min(halftone.shape) < size:
        raise ValueError(f"an image of {halftone.shape} has no valid region under a {size}×{size} kernel")
    error = cv2.filter2D(_unit(halftone) - _unit(gray), cv2.CV_64F, kernel)
    inside = slice(size // 2, -(size // 2) or None)
    # The filters are linear, so the difference of the two filtered images is the filtered difference.
    return psnr(error[inside, inside], np.zeros_like(error[inside, inside]))


def tone_psnr(halftone: np.ndarray, gray: np.ndarray, sigma: float = 1.5) -> float:
    """PSNR in dB of halftone (H, W) {0, 255} against gray (H, W), both under a Gaussian; valid region, range [0, 1].

    The filter has 11 × 11 taps of σ `sigma` pixels and sum 1. The quantized halftone is what is measured.
    """
    return _seen_psnr(halftone, gray, gaussian_filter(sigma, RADIUS))


def nasanen_psnr(halftone: np.ndarray, gray: np.ndarray) -> float:
    """PSNR in dB of halftone against gray (H, W) under 11 × 11 taps of halftone.eye.nasanen; valid region, [0, 1]."""
    return _seen_psnr(halftone, gray, nasanen(radius=RADIUS))


def ciede2000(a: np.ndarray, b: np.ndarray) -> float:
    """Mean CIEDE2000 colour difference of two (H, W, 3) BGR images, read as sRGB under D65 (Sharma et al. 2005)."""
    return float(deltaE_ciede2000(rgb2lab(_unit(a)[..., ::-1]), rgb2lab(_unit(b)[..., ::-1])).mean())


def halftone_metrics(halftone: np.ndarray, photo_bgr: np.ndarray) -> dict[str, float]:
    """Scores of a halftone (H, W) {0, 255} against its photo (H, W, 3) BGR; ssim_gray alone ranks nothing."""
    gray = gray_of(photo_bgr)
    return {
        "tone_psnr_1.5": tone_psnr(halftone, gray, 1.5),
        "tone_psnr_2.0": tone_psnr(halftone, gray, 2.0),
        "nasanen_psnr": nasanen_psnr(halftone, gray),
        "ssim_gray": ssim(halftone, gray),
    }


def restoration_metrics(photo_bgr: np.ndarray, restored_bgr: np.ndarray) -> dict[str, float]:
    """Scores of a restored image against its photo, both (H, W, 3) BGR; PSNR in dB over the three channels together.

    luma_psnr is that of `gray_of`, chroma_psnr that of both planes of `chroma_of`, peak 1 for each.
    """
    return {
        "psnr": psnr(photo_bgr, restored_bgr),
        "ssim": ssim(photo_bgr, restored_bgr),
        "luma_psnr": psnr(gray_of(photo_bgr), gray_of(restored_bgr)),
        "chroma_psnr": psnr(chroma_of(photo_bgr), chroma_of(restored_bgr)),
        "ciede2000": ciede2000(photo_bgr, restored_bgr),
    }
