"""Measuring a reversible halftone network through the files it writes, beside classical halftones and codecs."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from halftone.error_diffusion import error_diffusion
from halftone.ordered import blue_noise, white_noise
from halftone.variable_diffusion import ostromoukhov
from images.files import read_halftone, write_halftone, write_image
from jobs.tasks import HALFTONES, RESTORED
from metrics import spectra
from metrics.codecs import code_within
from metrics.damage import damages
from metrics.quality import gray_of, halftone_metrics, mean_chroma, psnr, restoration_metrics
from metrics.tables import Sections
from reshalf.codec import ResHalfCodec
from utils.errors import UserError, name_errors

OURS = "network"
SMALLEST_SIDE = 32

GRAYS = {f"{k}/8": (round(255 * k / 8),) * 3 for k in range(1, 8)}
COLOURS = {  # BGR: the corners of the cube, where a carrier of chroma is loudest, and two colours photos are full of
    "red": (0, 0, 255),
    "green": (0, 255, 0),
    "blue": (255, 0, 0),
    "cyan": (255, 255, 0),
    "magenta": (255, 0, 255),
    "yellow": (0, 255, 255),
    "skin": (140, 172, 224),
    "sky": (235, 206, 135),
}
PATCH, MARGIN, FIELD = 128, 64, (512, 640)  # 12 patches of 128×128; the margin keeps the start of a diffusion out


# The void-and-cluster mask repeats every 64 pixels, so the patches of a flat field are one and the same and their
# spectrum is lines: that, and no preferred direction, is its high anisotropy.
CLASSICAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Ostromoukhov": ostromoukhov,
    "Floyd-Steinberg": error_diffusion,
    "void-and-cluster": blue_noise,
    "white noise": white_noise,
}


class FileCodec:
    """An engine, seen through the files in `folder`/halftone and `folder`/restored."""

    def __init__(self, engine: ResHalfCodec, folder: str | Path):
        self.engine = engine
        self.halftones, self.restorations = Path(folder) / HALFTONES, Path(folder) / RESTORED
        for made in (self.halftones, self.restorations):
            made.mkdir(parents=True, exist_ok=True)

    def halftone(self, bgr: np.ndarray, name: str) -> tuple[np.ndarray, int]:
        """Encode (H, W, 3) BGR uint8 into halftone/NAME.png: (H, W) {0, 255} as read back, and the file's bits."""
        path = self.halftones / f"{name}.png"
        with name_errors(name):
            write_halftone(path, self.engine.halftone(bgr))
        return read_halftone(path), 8 * path.stat().st_size

    def restore(self, halftone: np.ndarray, name: str) -> np.ndarray:
        """Decode (H, W) {0, 255}: (H, W, 3) BGR uint8, as an 8-bit file holds it."""
        with name_errors(name):
            return self.engine.restore(halftone)

    def save(self, restored: np.ndarray, name: str) -> None:
        """Write restored/NAME.png."""
        write_image(self.restorations / f"{name}.png", restored)


def check_size(bgr: np.ndarray, name: str) -> None:
    """Raise UserError naming the photo (H, W, 3) when a crop of it would be too small for the metrics' windows."""
    if min(bgr.shape[:2]) < SMALLEST_SIDE:
        size = f"{bgr.shape[1]}×{bgr.shape[0]}"
        raise UserError(f"{name}: {size} is too small to measure, {SMALLEST_SIDE} a side at least")


def measure_photo(codec: FileCodec, bgr: np.ndarray, name: str, *, references: bool, robustness: bool) -> Sections:
    """All figures of one photo (H, W, 3) BGR uint8 that passes `check_size`: halftone, restoration, robustness.

    The halftone is the one in its file. references: classical halftones, and JPEG and WebP at 1 bit per pixel and at
    the bits of the halftone's file.
    """
    halftone, file_bits = codec.halftone(bgr, name)
    restored = codec.restore(halftone, name)
    codec.save(restored, name)
    pixels = halftone.size
    halftones = {OURS: halftone_metrics(halftone, bgr)}
    restorations = {OURS: {**restoration_metrics(bgr, restored), "bits/pixel": file_bits / pixels}}
    if references:
        gray = np.rint(255 * gray_of(bgr)).astype(np.uint8)
        halftones |= {method: halftone_metrics(apply(gray), bgr) for method, apply in CLASSICAL.items()}
        for limit, bits in (("1 bit", pixels), ("file", file_bits)):
            for title, suffix in (("JPEG", ".jpg"), ("WebP", ".webp")):
                restorations[f"{title}, {limit}"] = _coded_metrics(bgr, suffix, bits)
    sections = {"halftone": halftones, "restoration": restorations}
    if robustness:
        sections["robustness"] = {
            damage: {"psnr": psnr(target, codec.restore(harmed, name))}
            for damage, harmed, target in damages(halftone, bgr, codec.engine.seed)
        }
    return sections


def _coded_metrics(bgr: np.ndarray, suffix: str, bits: int) -> dict[str, float]:
    coded = code_within(bgr, suffix, bits)
    if coded is None:
        return {**dict.fromkeys(restoration_metrics(bgr, bgr), float("nan")), "bits/pixel": float("nan")}
    return {**restoration_metrics(bgr, coded[0]), "bits/pixel": coded[1] / bgr[..., 0].size}


def measure_flat(codec: FileCodec) -> Iterator[tuple[str, dict[str, spectra.Spectrum]]]:
    """Yield (name, {method: Spectrum}) of every constant field of GRAYS, then of COLOURS.

    The classical methods halftone the colour's gray, rounded to 8 bits, and are measured against that level.
    """
    with tempfile.TemporaryDirectory() as folder:
        through_files = FileCodec(codec.engine, folder)
        for name, colour in (GRAYS | COLOURS).items():
            field = np.full((*FIELD, 3), colour, np.uint8)
            level = float(gray_of(field)[0, 0])
            gray = np.full(FIELD, round(255 * level), np.uint8)
            found = {OURS: _spectrum(through_files.halftone(field, "flat")[0], level)}
            for method, apply in CLASSICAL.items():
                found[method] = _spectrum(apply(gray), gray[0, 0] / 255)
            yield name, found


def _spectrum(field: np.ndarray, level: float) -> spectra.Spectrum:
    return spectra.measure(spectra.cut_patches(field, PATCH, MARGIN), level)


def spectrum_rows(flat: dict[str, dict[str, spectra.Spectrum]]) -> dict[str, dict[str, float]]:
    """One row per method: means over the grays and over the colours of low-frequency energy and anisotropy.

    "worst/FS" is the largest ratio, over the grays, of the low-frequency energy to Floyd-Steinberg's at that gray.
    """

    def mean(method: str, names: dict, field: str) -> float:
        return float(np.mean([getattr(flat[name][method], field) for name in names]))

    rows = {}
    for method in flat[next(iter(GRAYS))]:
        ratios = [
            flat[name][method].low_frequency_energy / flat[name]["Floyd-Steinberg"].low_frequency_energy
            for name in GRAYS
        ]
        rows[method] = {
            "low-freq gray": mean(method, GRAYS, "low_frequency_energy"),
            "worst/FS": max(ratios),
            "low-freq colour": mean(method, COLOURS, "low_frequency_energy"),
            "anisotropy gray": mean(method, GRAYS, "mean_anisotropy"),
            "anisotropy colour": mean(method, COLOURS, "mean_anisotropy"),
        }
    return rows


def gray_ramp_chroma(codec: FileCodec) -> float:
    """Mean chroma (`mean_chroma`, levels of 0..255) of the restoration of a gray ramp, 256×256, column x of gray x."""
    ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None], 3, axis=2)
    with tempfile.TemporaryDirectory() as folder:
        through_files = FileCodec(codec.engine, folder)
        return mean_chroma(through_files.restore(through_files.halftone(ramp, "ramp")[0], "ramp"))
