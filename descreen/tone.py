"""Tone and colour of a whole restored picture.

Dot gain and the tint of the paper change all tones of a print alike. The coarse network, which sees the surroundings of
a pixel only, cannot tell them from the tones of the photograph and restores their mean. ToneNet estimates the rest from
statistics of the whole picture: where paper shows between the dots, and how the restored tones are distributed.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from descreen.picture_net import PictureNet, windows

SHARES = (0.005, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.995)
"""Quantiles of which `statistics` consists."""
BLURS = (0.0, 0.7, 1.2)
"""σ in pixels of the blurred scans whose quantiles are taken: paper between the dots, or the mean over some of them."""
IMAGES = 3 + len(BLURS)
"""Images of three channels whose quantiles are taken."""
STATISTICS = IMAGES * 3 * len(SHARES) + 1
MIN_PITCH = 2.5
"""Pixels. Between finer dots no paper shows, and the correction loses as often as it gains."""
MAX_CHANGE = (0.3, 0.3, 0.3, 0.6)
"""Limits of the coefficients in both directions. The curve of `tone_terms` then rises everywhere."""


class ToneNet(PictureNet):
    """Statistics (N, STATISTICS) → coefficients of `tone_terms`, (N, 4). Initially zero: no change."""

    def __init__(self, width: int = 128):
        super().__init__(STATISTICS, len(MAX_CHANGE), width)
        self.register_buffer("limits", torch.tensor(MAX_CHANGE))

    def forward(self, statistics: Tensor) -> Tensor:
        return self.limits * super().forward(statistics).tanh()

    @torch.no_grad()
    def correct(self, scan: np.ndarray, restored: np.ndarray, pitch: float) -> np.ndarray:
        """Correct the tones of `restored`; arguments as of `statistics`. Same shape and dtype."""
        found = torch.from_numpy(statistics(scan, restored, pitch))[None].to(self.mean.device)
        coefficients = self(found)[0].cpu().numpy()
        levels = np.repeat(np.arange(256, dtype=np.float32)[:, None] / 255, 3, axis=1)
        table = np.clip(np.rint(255 * (levels + tone_terms(levels) @ coefficients)), 0, 255).astype(np.uint8)
        return cv2.LUT(restored, table[None])


def tone_terms(bgr: np.ndarray) -> np.ndarray:
    """What each coefficient adds to (..., 3) BGR in [0, 1]: (..., 3, 4).

    The first three scale one channel, for the tint of the paper; the last adds x (1 - x) to all, for the dot gain.
    """
    gain = (bgr * (1 - bgr))[..., None]
    return np.concatenate((bgr[..., None] * np.eye(3, dtype=bgr.dtype), gain), axis=-1)


def statistics(scan: np.ndarray, restored: np.ndarray, pitch: float) -> np.ndarray:
    """Quantiles in [0, 1] of a scan and its restoration, and the logarithm of the pitch: float32 (STATISTICS,).

    Of the channels of both, of their brightest and darkest channel with the difference, and of the channels of the scan
    blurred with the other BLURS.

    scan, restored  (H, W, 3) BGR uint8
    pitch           of the scan's screens, pixels
    """
    counts = np.zeros((IMAGES, 3, 256))
    for window in windows(*scan.shape[:2]):
        images = [restored[window], _extremes(restored[window]), _extremes(scan[window])]
        images += [cv2.GaussianBlur(scan[window], (0, 0), sigma) if sigma else scan[window] for sigma in BLURS]
        for count, image in zip(counts, images, strict=True):
            for channel in range(3):
                count[channel] += cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel()
    below = counts.cumsum(axis=-1) / counts.sum(axis=-1, keepdims=True)
    quantiles = [[np.searchsorted(share, SHARES) for share in three] for three in below]
    return np.append(np.ravel(quantiles) / 255, np.log(pitch)).astype(np.float32)


def _extremes(bgr: np.ndarray) -> np.ndarray:
    """The brightest and the darkest channel of each pixel and their difference, (H, W, 3)."""
    brightest, darkest = bgr.max(axis=2), bgr.min(axis=2)
    return np.dstack((brightest, darkest, brightest - darkest))
