"""Models of the eye as point spread functions, and direct binary search with them."""

import math
from collections.abc import Callable

import numpy as np

from halftone.checks import as_gray
from halftone.dbs import Term, direct_binary_search, gaussian_filter
from halftone.error_diffusion import error_diffusion

RADIUS = 6  # pixels at which a point spread function is truncated


def gaussian(sigma: float = 1.5) -> np.ndarray:
    """Return a Gaussian point spread function, `sigma` in pixels; float64 (K, K), sum 1."""
    return gaussian_filter(sigma, RADIUS)


def nasanen(scale: float = 2000.0, luminance: float = 11.0, radius: int = RADIUS) -> np.ndarray:
    """Return the point spread function with transform exp(-k f); float64 (2 radius + 1, 2 radius + 1), sum 1.

    h(r) ∝ (k² + (2πr)²)^-1.5, k = π scale / (180 (0.525 ln luminance + 3.91)), luminance in cd/m², r in pixels;
    scale is dots per inch times inches of viewing distance.
    Source: R. Näsänen, Visibility of halftone dot textures, IEEE Trans. Systems, Man and Cybernetics 14, 1984; S. Kim,
    J. Allebach, Impact of HVS models on model-based halftoning, IEEE Trans. Image Processing 11, 2002.
    """
    k = math.pi * scale / (180 * (0.525 * math.log(luminance) + 3.91))
    offset = np.arange(-radius, radius + 1)
    spread = (k**2 + (2 * math.pi) ** 2 * (offset[:, None] ** 2 + offset**2)) ** -1.5
    return spread / spread.sum()


def mannos_sakrison(scale: float = 5000.0) -> np.ndarray:
    """Return the point spread function of a low-pass contrast sensitivity; float64 (K, K), sum 1, partly negative.

    A(f) = 2.6 (0.0192 + 0.114 f) exp(-(0.114 f)^1.1), f in cycles per degree; below its peak A is constant, so that a
    search keeps the mean. scale is dots per inch times inches of viewing distance; at 2000 this model would resolve
    single pixels.
    Source: J. Mannos, D. Sakrison, The effects of a visual fidelity criterion on the encoding of images, IEEE Trans.
    Information Theory 20, 1974.
    """
    size = 128
    frequency = np.fft.fftfreq(size) * math.pi * scale / 180
    f = np.hypot(frequency[:, None], frequency)
    sensitivity = 2.6 * (0.0192 + 0.114 * f) * np.exp(-((0.114 * f) ** 1.1))
    sensitivity[f < f.flat[sensitivity.argmax()]] = sensitivity.max()
    spread = np.fft.fftshift(np.fft.ifft2(sensitivity).real)
    middle = slice(size // 2 - RADIUS, size // 2 + RADIUS + 1)
    spread = spread[middle, middle]
    return spread / spread.sum()


EYE_MODELS: dict[str, Callable[[], np.ndarray]] = {
    "gaussian": gaussian,
    "nasanen": nasanen,
    "mannos_sakrison": mannos_sakrison,
}


def search_for_eye(gray: np.ndarray, *, eye: str = "gaussian", passes: int = 8) -> np.ndarray:
    """Minimize the perceived error by direct binary search, starting from Floyd-Steinberg; uint8 {0, 255} (H, W).

    gray: (H, W), uint8 or floating in 0..255. eye: a name in EYE_MODELS, which holds the sources. passes: maximum
    number of passes of toggles and swaps.
    Raises TypeError or ValueError for a wrong dtype, shape or range, KeyError for an unknown eye.
    Source: M. Analoui, J. Allebach, Model-based halftoning using direct binary search, Proc. SPIE 1666, 1992.
    """
    if eye not in EYE_MODELS:
        raise KeyError(f"unknown eye {eye!r}, known: {', '.join(EYE_MODELS)}")
    gray = as_gray(gray)
    term = Term(gray / 127.5 - 1, EYE_MODELS[eye]())
    return direct_binary_search(error_diffusion(gray), [term], passes)
