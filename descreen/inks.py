"""The kind of inks of a print, which decides about its tones.

The light of ideal inks, as programs draw them, is averaged in sRGB levels; that of process inks, on paper, in linear
light (`solids` in descreen/printing.py). A belief is a number in [-1, 1]: twice the probability of
process inks, minus one.
"""

import cv2
import numpy as np
import torch
from torch import Tensor

from descreen.picture_net import PictureNet, windows
from descreen.printing import Printing

BELIEFS = {"ideal": -1.0, "process": 1.0}
"""Kinds of inks, and what is believed where the kind is known."""
CERTAIN = 0.9
"""Beliefs from here on are right in 99 % of simulated scans."""
SPREAD = 0.1
"""In training beliefs are 2 p - 1, with p of the distribution Beta(SPREAD, SPREAD): most are close to -1 or 1."""
BLURS = (0.0, 1.2)
"""σ in pixels of the blurred scans whose colours are counted: single dots, or the mean over some of them."""
COLOURS, FINE = 6, 32
"""Levels of a channel that colours are counted at, by linear interpolation, and intervals of a channel before."""
FEATURES = len(BLURS) * COLOURS**3


class InkClassifier(PictureNet):
    """`colour_shares` (N, FEATURES) → log odds of process inks, (N, 1). Initially zero, an even chance.

    The dots of a print have few colours, and other ones for each kind of inks.
    """

    def __init__(self, width: int = 64):
        super().__init__(FEATURES, 1, width)

    @torch.no_grad()
    def belief(self, scan: np.ndarray) -> float:
        """What to believe of a scan (H, W, 3) BGR uint8."""
        shares = torch.from_numpy(colour_shares(scan))[None].to(self.mean.device)
        return float((self(shares) / 2).tanh())  # 2 p - 1


def colour_shares(scan: np.ndarray) -> np.ndarray:
    """Square roots of the shares of COLOURS³ colours in a scan and in it blurred by BLURS: float32 (FEATURES,).

    scan  (H, W, 3) BGR uint8; of large ones evenly spaced windows are taken
    """
    centres = (np.arange(FINE) + 0.5) * (COLOURS - 1) / FINE
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(COLOURS)))
    shares = []
    for sigma in BLURS:
        counts = np.zeros((FINE,) * 3)
        for window in windows(*scan.shape[:2]):
            image = cv2.GaussianBlur(scan[window], (0, 0), sigma) if sigma else scan[window]
            counts += cv2.calcHist([image], [0, 1, 2], None, [FINE] * 3, [0, 256] * 3)
        shares.append(np.einsum("bgr,bi,gj,rk->ijk", counts / counts.sum(), weights, weights, weights, optimize=True))
    return np.sqrt(np.ravel(shares)).astype(np.float32)


def describe_belief(belief: float) -> str:
    """For reports: which inks, and whether that is certain."""
    kind = "process inks" if belief > 0 else "ideal inks"
    return kind if abs(belief) >= CERTAIN else f"probably {kind}"


def draw_belief(printing: Printing, random: np.random.Generator) -> float:
    """The belief of a calibrated classifier about a print: of those with p, a share p has process inks."""
    certain, other = SPREAD + 1, SPREAD
    p = random.beta(*((certain, other) if printing.solids is not None else (other, certain)))
    return 2 * float(p) - 1


def append_belief(scan: Tensor, belief: float) -> Tensor:
    """Scan (1, C, H, W) → (1, C + 1, H, W), with the belief in all pixels of the last channel."""
    return torch.cat((scan, torch.full_like(scan[:, :1], belief)), dim=1)
