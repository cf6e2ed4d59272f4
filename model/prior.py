"""The dither prior: a classical halftone for the encoder and a demodulation for the decoder, both without parameters.

The encoder starts from a classical halftone that already carries colour (model/composite.py); the decoder predicts a
residual to the demodulated image.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from halftone.dbs import Search
from model.composite import CARRIERS, MIN_HEADROOM, composite_search, diffuse_composite
from model.filters import gaussian_blur, gaussian_taps
from utils.colour import BT601_BGR, CB_SCALE, CR_SCALE
from utils.errors import did_you_mean

DIFFUSED_PILOT = 0.05  # amplitude of the pilot in an error-diffused halftone
MAX_SATURATION, MIN_SATURATION = 0.95, 1e-6
"""Range of the saturation max(|m_r|, |m_b|) / (1 - |Y|) in which the chroma compression is inverted."""
_BLUE_WEIGHT, _GREEN_WEIGHT, _RED_WEIGHT = BT601_BGR
RED_BY_CR, BLUE_BY_CB = 1 / CR_SCALE, 1 / CB_SCALE
GREEN_BY_CR, GREEN_BY_CB = _RED_WEIGHT / _GREEN_WEIGHT / CR_SCALE, _BLUE_WEIGHT / _GREEN_WEIGHT / CB_SCALE
"""R = Y + RED_BY_CR Cr, B = Y + BLUE_BY_CB Cb, G = Y - GREEN_BY_CR Cr - GREEN_BY_CB Cb."""
HALFTONES = ("direct_binary_search", "error_diffusion")


@dataclass(frozen=True)
class Prior:
    """Settings of the dither prior, stored in the checkpoint.

    halftone       classical halftoning algorithm, one of HALFTONES
    amplitude      gain of the chroma on its carriers
    luma_sigma     standard deviation in pixels of the search's luma filter
    chroma_sigma   standard deviation in pixels of the search's chroma filter, truncated 6 pixels from its centre
    chroma_weight  weight of a chroma term relative to the luma term of the search
    passes         passes of the search over the image
    guidance       weight of the proxy's squared error in the guided search (ResHalf.prior_halftone); 0: no guidance
    guided_rounds  rounds of the guided search, one gradient each
    guided_passes  passes of the search in each round
    proxy_width    channels of the proxy, a small decoder
    pilot          weight of the pilot (model/pilot.py), which identifies crops, mirror images and turns; 0: no pilot
    beta           weight of the classical halftone in the continuous halftone
    correction     True: a trained encoder corrects the classical halftone; False: the encoder has no parameters
    demodulator_luma_sigma, demodulator_chroma_sigma  standard deviations in pixels of the demodulator's filters
    """

    halftone: str = "direct_binary_search"
    amplitude: float = 2.2
    luma_sigma: float = 1.3
    chroma_sigma: float = 2.5
    chroma_weight: float = 0.1
    passes: int = 8
    guidance: float = 0.0
    guided_rounds: int = 6
    guided_passes: int = 4
    proxy_width: int = 16
    pilot: float = 0.0
    beta: float = 1.0
    correction: bool = False
    demodulator_luma_sigma: float = 1.0
    demodulator_chroma_sigma: float = 2.0

    def __post_init__(self):
        if self.halftone not in HALFTONES:
            raise ValueError(f"prior.halftone must be one of {', '.join(HALFTONES)}, not {self.halftone!r}")
        positive = ("amplitude", "luma_sigma", "chroma_sigma", "demodulator_luma_sigma", "demodulator_chroma_sigma")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"prior.{name} must be above 0, not {getattr(self, name)}")
        for name, least in {"pilot": 0, "passes": 0, "guided_rounds": 0, "guided_passes": 0, "proxy_width": 1}.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"prior.{name} must be {least} or more, not {getattr(self, name)}")
        if not self.guidance >= 0 or (self.guidance and self.halftone != "direct_binary_search"):
            raise ValueError(f"prior.guidance must be 0, or above it for direct_binary_search, not {self.guidance}")

    @classmethod
    def from_dict(cls, values: dict) -> "Prior":
        """Build from a config or a checkpoint. ValueError for unknown keys, wrong types and values out of range.

        Released checkpoints have "demodulator": true, which is accepted and dropped.
        """
        values = dict(values)
        if values.pop("demodulator", True) is not True:
            raise ValueError("prior.demodulator must be true: decoders without the demodulator are not supported")
        known = {field.name: field.type for field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(
                    f"prior has no setting {name!r}; known are {', '.join(known)}{did_you_mean(name, known)}"
                )
            accepted = (int, float) if known[name] is float else known[name]
            if not isinstance(value, accepted) or (isinstance(value, bool) and known[name] is not bool):
                raise ValueError(f"prior.{name} must be {known[name].__name__}, not {value!r}")
        return cls(**values)

    def as_dict(self) -> dict:
        """The settings as plain values, the inverse of `from_dict`."""
        return asdict(self)

    def classical_halftone(self, bgr: np.ndarray) -> np.ndarray:
        """Halftone (H, W, 3) BGR uint8 into (H, W) uint8 in {0, 255}: a pure function of the photograph."""
        if self.halftone == "error_diffusion":
            return diffuse_composite(bgr, self.amplitude, pilot=DIFFUSED_PILOT if self.pilot else 0)
        return self.search(bgr).halftone()

    def search(self, bgr: np.ndarray) -> Search:
        """Run the direct binary search on (H, W, 3) BGR uint8 and return it, so that a caller can continue it."""
        sigmas = self.luma_sigma, self.chroma_sigma
        search = composite_search(bgr, self.amplitude, *sigmas, self.chroma_weight, self.pilot)
        search.run(self.passes)
        return search

    def guidance_weight(self, rounds: int) -> float:
        """Weight of the proxy's error in a guided search of `rounds` rounds; `guidance` for `guided_rounds`.

        The mean of few gradients is mostly noise, and more rounds correct more of what a larger weight overshoots; the
        rule was chosen by measurement (docs/experiments.md).
        """
        return self.guidance * math.sqrt(rounds / max(self.guided_rounds, 1))

    @property
    def receptive_radius(self) -> int:
        """Receptive-field radius of `demodulate` in pixels."""
        return _radius(max(self.demodulator_luma_sigma, self.demodulator_chroma_sigma))

    def demodulator_taps(self) -> tuple[np.ndarray, np.ndarray]:
        """Taps of the demodulator's separable luma and chroma filters, each (K,) float32."""
        sigmas = self.demodulator_luma_sigma, self.demodulator_chroma_sigma
        return tuple(np.array(gaussian_taps(2 * _radius(sigma) + 1, sigma), np.float32) for sigma in sigmas)

    def decoder_inputs(self, halftone: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, H, W) in {-1, 1} → the decoder's input (N, 4, H, W), halftone and demodulation, and the demodulation.

        The decoder predicts a residual to the demodulation (N, 3, H, W).
        """
        linear = self.demodulate(halftone)
        return torch.cat((halftone, linear), dim=1), linear

    def restore(self, decoder: Callable[[Tensor], Tensor], halftone: Tensor) -> Tensor:
        """Demodulation plus the decoder's residual: (N, 1, H, W) in {-1, 1} → (N, 3, H, W) BGR, unclipped."""
        inputs, linear = self.decoder_inputs(halftone)
        return linear + decoder(inputs)

    def demodulate(self, halftone: Tensor) -> Tensor:
        """Restore colour without a network: (N, 1, H, W) in {-1, 1} → (N, 3, H, W) BGR, unclipped.

        Luma is the blurred halftone; each chroma is the blurred product of halftone and carrier, times the inverse
        of the gain of model.composite.modulation (up to MAX_SATURATION).
        """
        with torch.autocast(halftone.device.type, enabled=False):
            return self._demodulate(halftone.float())

    def _demodulate(self, halftone: Tensor) -> Tensor:
        modulated = halftone * carriers(*halftone.shape[-2:], dtype=halftone.dtype, device=halftone.device)
        luma = _blur(halftone, self.demodulator_luma_sigma)
        local_mean = _blur(halftone, self.demodulator_chroma_sigma)
        chroma = _blur(modulated, self.demodulator_chroma_sigma)
        headroom = (1 - local_mean.abs()).clamp_min(MIN_HEADROOM)
        saturation = (chroma.abs().amax(dim=1, keepdim=True) / headroom).clamp(MIN_SATURATION, MAX_SATURATION)
        cr, cb = (chroma * (saturation.atanh() / (saturation * self.amplitude))).split(1, dim=1)
        red = torch.add(luma, cr, alpha=RED_BY_CR)
        blue = torch.add(luma, cb, alpha=BLUE_BY_CB)
        green = luma.sub(cr, alpha=GREEN_BY_CR).sub(cb, alpha=GREEN_BY_CB)
        return torch.cat((blue, green, red), dim=1)


def carriers(height: int, width: int, *, dtype=torch.float32, device=None) -> Tensor:
    """The carriers of Cr and Cb, (1, 2, H, W) in {-1, 1}; both are 1 at the top left pixel."""
    y = (1 - 2 * (torch.arange(height, device=device) % 2)).to(dtype).view(-1, 1)
    x = (1 - 2 * (torch.arange(width, device=device) % 2)).to(dtype).view(1, -1)
    return torch.stack([(y**row) * (x**column) for row, column in CARRIERS]).unsqueeze(0)


def _blur(x: Tensor, sigma: float) -> Tensor:
    return gaussian_blur(x, 2 * _radius(sigma) + 1, sigma, border="renormalize")


def _radius(sigma: float) -> int:
    return int(3 * sigma + 0.5)
