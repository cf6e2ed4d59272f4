"""The dither prior: what the encoder and the decoder know before the first training step.

The encoder starts from a classical halftone that already carries colour (halftone/composite.py), the decoder from the
demodulation of it. Neither has parameters.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields

import numpy as np
import torch
from torch import Tensor

from halftone.dbs import Search
from model.composite import CARRIERS, LEAST_HEADROOM, composite_search, diffuse_composite, threshold_composite
from utils.filters import gaussian_blur, gaussian_taps

DIFFUSED_PILOT = 0.05  # strength of the pilot in an error-diffused halftone
MOST_SATURATION, LEAST_SATURATION = 0.95, 1e-6
"""Range of the saturation, the share of the headroom that chroma takes, in which its compression is inverted."""
RED_BY_CR, BLUE_BY_CB = 1 / 0.713, 1 / 0.564
GREEN_BY_CR, GREEN_BY_CB = 0.299 / 0.587 / 0.713, 0.114 / 0.587 / 0.564
HALFTONES = ("direct_binary_search", "error_diffusion", "void_and_cluster")


@dataclass(frozen=True)
class Prior:
    """Settings of the dither prior; a checkpoint carries them.

    halftone       which classical halftone the encoder starts from, one of HALFTONES
    amplitude      factor of the chroma on its carriers
    luma_sigma     standard deviation in pixels of the search's luma filter
    chroma_sigma   the same of its chroma filter, which is cut off 6 pixels from its centre
    chroma_weight  weight of a chroma term against the luma term in the search
    passes         sweeps of the search
    guidance       weight of the proxy's squared error as the search goes on for guided_rounds; 0: none
                   (ResHalf.prior_halftone)
    guided_rounds  further searches
    guided_passes  sweeps of each
    proxy_width    channels of the proxy, a small decoder
    pilot          price of a dot against the pilot that tells crops and turns (halftone/pilot.py); 0: none
    beta           weight of the classical halftone in the continuous halftone
    correction     whether a learned encoder corrects the classical halftone; without it the encoder has no parameters
    demodulator    whether the decoder stands on the demodulation
    demodulator_luma_sigma, demodulator_chroma_sigma  its filters, standard deviations in pixels
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
    demodulator: bool = True
    demodulator_luma_sigma: float = 1.0
    demodulator_chroma_sigma: float = 2.0

    def __post_init__(self):
        if self.halftone not in HALFTONES:
            raise ValueError(f"prior.halftone must be one of {', '.join(HALFTONES)}, not {self.halftone!r}")
        positive = ("amplitude", "luma_sigma", "chroma_sigma", "demodulator_luma_sigma", "demodulator_chroma_sigma")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"prior.{name} must be above 0, not {getattr(self, name)}")
        for name, least in {"passes": 0, "guided_rounds": 0, "guided_passes": 0, "proxy_width": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"prior.{name} must be {least} or more, not {getattr(self, name)}")
        if not self.pilot >= 0 or (self.pilot and self.halftone == "void_and_cluster"):
            raise ValueError(f"prior.pilot must be 0, or above it without void_and_cluster, not {self.pilot}")
        if not self.guidance >= 0 or (self.guidance and self.halftone != "direct_binary_search"):
            raise ValueError(f"prior.guidance must be 0, or above it for direct_binary_search, not {self.guidance}")

    @classmethod
    def from_dict(cls, values: dict) -> "Prior":
        """Build from a config or a checkpoint; ValueError names unknown keys and lists the known ones."""
        known = {field.name: field.type for field in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"prior has no setting {name!r}; known are {', '.join(known)}")
            accepted = (int, float) if known[name] is float else known[name]
            if not isinstance(value, accepted) or (isinstance(value, bool) and known[name] is not bool):
                raise ValueError(f"prior.{name} must be {known[name].__name__}, not {value!r}")
        return cls(**values)

    def as_dict(self) -> dict:
        return asdict(self)

    def classical_halftone(self, bgr: np.ndarray) -> np.ndarray:
        """Halftone (H, W, 3) BGR uint8 into (H, W) uint8 in {0, 255}: a pure function of the photograph."""
        if self.halftone == "error_diffusion":
            return diffuse_composite(bgr, self.amplitude, pilot=DIFFUSED_PILOT if self.pilot else 0)
        if self.halftone == "void_and_cluster":
            return threshold_composite(bgr, self.amplitude)
        return self.search(bgr).halftone()

    def search(self, bgr: np.ndarray) -> Search:
        """The direct binary search for the classical halftone of (H, W, 3) BGR uint8 where it ends, to be continued."""
        sigmas = self.luma_sigma, self.chroma_sigma
        search = composite_search(bgr, self.amplitude, *sigmas, self.chroma_weight, self.pilot)
        search.sweep(self.passes)
        return search

    def guidance_of(self, rounds: int) -> float:
        """The weight of the proxy's error in a search of so many rounds; `guidance` for `guided_rounds` of them.

        The mean of few gradients is mostly noise, so it is shrunk by rounds / (rounds + 3), chosen on validation
        photographs (bench/recipes.md).
        """
        trained = max(self.guided_rounds, 1)
        return self.guidance * (rounds / (rounds + 3)) / (trained / (trained + 3))

    @property
    def receptive_radius(self) -> int:
        """Pixels around a restored pixel that `demodulate` looks at."""
        return _radius(max(self.demodulator_luma_sigma, self.demodulator_chroma_sigma)) if self.demodulator else 0

    def demodulator_lines(self) -> tuple[np.ndarray, np.ndarray]:
        """The demodulator's luma and chroma filter along a line, each (K,) float32."""
        sigmas = self.demodulator_luma_sigma, self.demodulator_chroma_sigma
        return tuple(np.array(gaussian_taps(2 * _radius(sigma) + 1, sigma), np.float32) for sigma in sigmas)

    def decoder_inputs(self, halftone: Tensor) -> tuple[Tensor, Tensor | None]:
        """What a decoder sees of (N, 1, H, W) in {-1, 1}, and what its output is added to, None without demodulator."""
        if not self.demodulator:
            return halftone, None
        linear = self.demodulate(halftone)
        return torch.cat((halftone, linear), dim=1), linear

    def restore(self, decoder: Callable[[Tensor], Tensor], halftone: Tensor) -> Tensor:
        """(N, 1, H, W) in {-1, 1} → (N, 3, H, W) BGR, unclipped: the decoder's output on the demodulation."""
        inputs, linear = self.decoder_inputs(halftone)
        return decoder(inputs) if linear is None else linear + decoder(inputs)

    def demodulate(self, halftone: Tensor) -> Tensor:
        """Restore colour without a network: (N, 1, H, W) in {-1, 1} → (N, 3, H, W) BGR, unclipped.

        Luma is the blurred halftone; each chroma is the blurred product with its carrier, expanded (the inverse
        of model.composite.modulation, up to a saturation of MOST_SATURATION) and divided by the amplitude.
        """
        with torch.autocast(halftone.device.type, enabled=False):
            return self._demodulate(halftone.float())

    def _demodulate(self, halftone: Tensor) -> Tensor:
        carried = halftone * carriers(*halftone.shape[-2:], dtype=halftone.dtype, device=halftone.device)
        luma = _blur(halftone, self.demodulator_luma_sigma)
        local = _blur(halftone, self.demodulator_chroma_sigma)
        compressed = _blur(carried, self.demodulator_chroma_sigma)
        headroom = (1 - local.abs()).clamp_min(LEAST_HEADROOM)
        saturation = (compressed.abs().amax(dim=1, keepdim=True) / headroom).clamp(LEAST_SATURATION, MOST_SATURATION)
        cr, cb = (compressed * (saturation.atanh() / (saturation * self.amplitude))).split(1, dim=1)
        red = torch.add(luma, cr, alpha=RED_BY_CR)
        blue = torch.add(luma, cb, alpha=BLUE_BY_CB)
        green = luma.sub(cr, alpha=GREEN_BY_CR).sub(cb, alpha=GREEN_BY_CB)
        return torch.cat((blue, green, red), dim=1)


def carriers(height: int, width: int, *, dtype=torch.float32, device=None) -> Tensor:
    """The carriers of Cr and Cb as (1, 2, H, W) in {-1, 1}, phase fixed at the image's top left pixel."""
    y = (1 - 2 * (torch.arange(height, device=device) % 2)).to(dtype).view(-1, 1)
    x = (1 - 2 * (torch.arange(width, device=device) % 2)).to(dtype).view(1, -1)
    return torch.stack([(y**row) * (x**column) for row, column in CARRIERS]).unsqueeze(0)


def _blur(x: Tensor, sigma: float) -> Tensor:
    return gaussian_blur(x, 2 * _radius(sigma) + 1, sigma, border="renormalize")


def _radius(sigma: float) -> int:
    return int(3 * sigma + 0.5)
