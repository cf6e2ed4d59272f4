"""Power spectrum of a halftone of one constant gray (Ulichney 1987, "Digital Halftoning"; Lau & Arce 2001).

Patches are (n, S, S) uint8 {0, 255} of a constant field of gray level g, 0 < g < 1; frequencies are in cycles per
pixel. Rings are one bin (1 / S) wide and centred on k / S; ring 0, the mean, is excluded. No window is applied.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from utils.files import atomic_write


@dataclass(frozen=True)
class Spectrum:
    """Radially averaged spectrum of one gray level: arrays over the rings, and two summary numbers."""

    level: float  # g
    count: int  # n, patches averaged
    frequency: np.ndarray  # (R,) cycles per pixel
    rapsd: np.ndarray  # (R,) 1 for white noise
    anisotropy: np.ndarray  # (R,) dB; −10 log10 n for isotropic noise; NaN where a ring has no power
    low_frequency_energy: float  # share of the power, 0..1; NaN when the power is 0
    mean_anisotropy: float  # dB, mean over the rings up to 0.5, which are complete circles

    def summary(self) -> dict[str, float]:
        """The scalar values, without the arrays."""
        return {
            "level": self.level,
            "patches": self.count,
            "principal_frequency": principal_frequency(self.level),
            "low_frequency_energy": self.low_frequency_energy,
            "mean_anisotropy": self.mean_anisotropy,
        }


def principal_frequency(level: float) -> float:
    """Principal frequency of blue noise of gray `level`: √g up to middle gray, √(1 − g) above (Ulichney 1988)."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"a gray level must be between 0 and 1, exclusive, not {level}")
    return math.sqrt(min(level, 1.0 - level))


def cut_patches(field: np.ndarray, size: int, margin: int = 0) -> np.ndarray:
    """(H, W) → (n, size, size): all complete, adjacent patches; `margin` pixels are cut off every side."""
    inner = field[margin : field.shape[0] - margin, margin : field.shape[1] - margin]
    rows, columns = inner.shape[0] // size, inner.shape[1] // size
    if rows * columns == 0:
        raise ValueError(f"no patch of {size}×{size} fits in {field.shape} without a margin of {margin}")
    inner = inner[: rows * size, : columns * size].reshape(rows, size, columns, size)
    return inner.swapaxes(1, 2).reshape(-1, size, size)


def power_spectrum(patches: np.ndarray, level: float) -> np.ndarray:
    """(n, S, S) {0, 255} → (S, S): mean of |FFT(x − g)|² / S², x in {0, 1}; frequency 0 at index (0, 0) (Bartlett)."""
    centred = patches / 255.0 - level
    return np.mean(np.abs(np.fft.fft2(centred)) ** 2, axis=0) / centred[0].size


def radii(size: int) -> np.ndarray:
    """(size, size) distance of each FFT bin from zero frequency, in cycles per pixel."""
    axis = np.fft.fftfreq(size)
    return np.hypot(axis[:, None], axis)


def measure(patches: np.ndarray, level: float) -> Spectrum:
    """Measure the radial spectrum of (n, S, S) patches {0, 255} of gray `level`.

    RAPSD: ring mean of `power_spectrum` / (g (1 − g)). Anisotropy: ring variance / ring mean², in dB.
    Low-frequency energy: share of the power, zero frequency excluded, below a quarter of the principal frequency;
    white noise of gray g has π g / 16 for g ≤ ½.
    """
    principal = principal_frequency(level)
    size = patches.shape[-1]
    power = power_spectrum(patches, level)
    distance = radii(size)
    ring = np.rint(distance * size).astype(int)
    members = np.bincount(ring.ravel())
    mean = np.bincount(ring.ravel(), power.ravel()) / members
    variance = np.bincount(ring.ravel(), ((power - mean[ring]) ** 2).ravel()) / np.maximum(members - 1, 1)
    rapsd = mean / (level * (1.0 - level))
    significant = rapsd > 1e-12  # below this is the rounding error of the FFT
    with np.errstate(divide="ignore", invalid="ignore"):
        anisotropy = np.where(significant, 10.0 * np.log10(variance / mean**2), np.nan)
    nonzero = distance > 0
    low, total = power[nonzero & (distance < principal / 4)].sum(), power[nonzero].sum()
    frequency = np.arange(len(members)) / size
    circles = significant & (frequency > 0) & (frequency <= 0.5) & np.isfinite(anisotropy)
    return Spectrum(
        level=level,
        count=len(patches),
        frequency=frequency[1:],
        rapsd=rapsd[1:],
        anisotropy=anisotropy[1:],
        low_frequency_energy=float(low / total) if total > 0 else math.nan,
        mean_anisotropy=float(anisotropy[circles].mean()) if circles.any() else math.nan,
    )


def plot(path: str | Path, panels: Mapping[str, Mapping[str, Spectrum]]) -> None:
    """Draw {panel title: {method: Spectrum}} to an image file: RAPSD above, anisotropy below, a column per panel.

    The principal frequency is a dotted line, as is the anisotropy floor −10 log10 n.
    """
    figure = Figure(figsize=(3.2 * len(panels) + 1, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(panels), sharex=True, sharey="row", squeeze=False)
    for (title, spectra), top, bottom in zip(panels.items(), *axes, strict=True):
        for number, (method, spectrum) in enumerate(spectra.items()):
            style = {"label": method, "linewidth": 1.8 if number == 0 else 1.0, "zorder": 3 if number == 0 else 2}
            top.plot(spectrum.frequency, spectrum.rapsd, **style)
            bottom.plot(spectrum.frequency, spectrum.anisotropy, **style)
        top.set(title=title, ylim=(0, 4))
        top.axvline(principal_frequency(spectrum.level), color="gray", linestyle=":")
        bottom.set(xlabel="cycles per pixel", xlim=(0, math.sqrt(0.5)), ylim=(-20, 30))
        bottom.axhline(-10 * math.log10(spectrum.count), color="gray", linestyle=":")
    axes[0, 0].set_ylabel("RAPSD (white noise 1)")
    axes[1, 0].set_ylabel("anisotropy, dB")
    axes[0, 0].legend(fontsize="small")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=110)
