"""Registry of all methods for gray images."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from halftone.diffusion_kernels import KERNELS
from halftone.dot_diffusion import dot_diffusion
from halftone.error_diffusion import error_diffusion
from halftone.eye import search_for_eye
from halftone.green_noise import green_noise
from halftone.ordered import bayer, blue_noise, clustered_45, clustered_diamond, clustered_spiral, white_noise
from halftone.riemersma import riemersma
from halftone.screens import am_screen
from halftone.variable_diffusion import ostromoukhov, zhou_fang

LEVIEN_93 = "R. Levien: Output dependent feedback in error diffusion halftoning, IS&T 46th Annual Conference, 1993"
OSTROMOUKHOV_01 = "V. Ostromoukhov: A Simple and Efficient Error-Diffusion Algorithm, SIGGRAPH 2001"
ZHOU_03 = (
    "B. Zhou, X. Fang: Improving Mid-tone Quality of Variable-coefficient Error Diffusion Using Threshold Modulation, "
    "SIGGRAPH 2003"
)
ROBERTS_62 = "L. Roberts: Picture coding using pseudo-random noise, IRE Trans. Information Theory 8, 1962"
BAYER_73 = "B. Bayer: An optimum method for two-level rendition of continuous-tone pictures, IEEE ICC, 1973"
ULICHNEY_93 = "R. Ulichney: The void-and-cluster method for dither array generation, SPIE 1913, 1993"
AM = "amplitude-modulated screens of offset printing; thresholds are the quantiles of the spot function"
KNUTH_87 = "D. Knuth: Digital halftones by dot diffusion, ACM Trans. Graphics 6(4), 1987"
MESE_2000 = (
    "M. Mese, P. Vaidyanathan: Optimized halftoning using dot diffusion, IEEE Trans. Image Processing 9(4), 2000"
)
RIEMERSMA_98 = "T. Riemersma: A balanced dithering technique, C/C++ Users Journal, December 1998"
ANALOUI_92 = "M. Analoui, J. Allebach: Model-based halftoning using direct binary search, Proc. SPIE 1666, 1992"
EXCLUDED_OPTIONS = {"supersample"}  # its output is not binary


@dataclass(frozen=True)
class Method:
    """A halftoning method for gray images.

    function    takes gray (H, W), uint8 or floating in 0..255, and keywords; returns uint8 {0, 255} (H, W)
    source      publication
    tone_bound  maximum difference, in gray levels, between a large constant area and the mean of its halftone
    """

    name: str
    family: str
    function: Callable[..., np.ndarray]
    source: str
    tone_bound: float

    def __call__(self, gray: np.ndarray, **options: int | float | bool | str) -> np.ndarray:
        return self.function(gray, **options)

    def options(self) -> dict[str, inspect.Parameter]:
        """Keyword options of the function with plain values, except those that `partial` has fixed."""
        fixed = {*getattr(self.function, "keywords", {}), *EXCLUDED_OPTIONS}
        return {
            name: parameter
            for name, parameter in inspect.signature(self.function).parameters.items()
            if name not in fixed and parameter.annotation in (int, float, bool, str)
        }


def _all_methods() -> list[Method]:
    return [
        *(
            Method(name, "error diffusion", partial(error_diffusion, kernel=name), kernel.source, kernel.tone_bound)
            for name, kernel in KERNELS.items()
        ),
        Method("ostromoukhov", "error diffusion", ostromoukhov, OSTROMOUKHOV_01, 1.5),
        Method("zhou_fang", "error diffusion", zhou_fang, ZHOU_03, 1.5),
        Method("green_noise", "error diffusion", green_noise, LEVIEN_93, 1.5),
        *(
            Method(f"bayer_{size}", "ordered", partial(bayer, size=size), BAYER_73, 255 / (2 * size * size) + 0.5)
            for size in (2, 4, 8, 16)
        ),
        Method("clustered_45", "ordered", clustered_45, "classic clustered-dot screen at 45°, 8 x 8", 2.5),
        Method("clustered_spiral", "ordered", clustered_spiral, "dots that grow in a spiral, 5 x 5", 6.0),
        Method("clustered_diamond", "ordered", clustered_diamond, "dots that grow by |x| + |y|, 8 x 8", 2.5),
        Method("white_noise", "ordered", white_noise, ROBERTS_62, 2.5),
        Method("blue_noise", "ordered", blue_noise, ULICHNEY_93, 0.6),
        *(
            Method(f"am_{spot}", "AM screen", partial(am_screen, spot=spot), AM, 2.5)
            for spot in ("round", "ellipse", "line", "square", "diamond")
        ),
        Method("dot_diffusion_knuth", "dot diffusion", partial(dot_diffusion, classes="knuth"), KNUTH_87, 5.0),
        Method("dot_diffusion_mese_8", "dot diffusion", partial(dot_diffusion, classes="mese_8"), MESE_2000, 6.0),
        Method("dot_diffusion_mese_16", "dot diffusion", partial(dot_diffusion, classes="mese_16"), MESE_2000, 3.0),
        Method("riemersma", "space-filling curve", riemersma, RIEMERSMA_98, 19.0),
        *(
            Method(f"dbs_{eye}", "search", partial(search_for_eye, eye=eye), f"{ANALOUI_92}; eye: {model}", 6.0)
            for eye, model in {
                "gaussian": "Gaussian, σ 1.5 pixels",
                "nasanen": "R. Näsänen, 1984",
                "mannos_sakrison": "J. Mannos, D. Sakrison, 1974",
            }.items()
        ),
    ]


METHODS: dict[str, Method] = {method.name: method for method in _all_methods()}
