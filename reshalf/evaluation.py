"""Evaluation of a ResHalf network through the files it writes, next to classical halftones and image codecs."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dataset.photo_list import read_photo_list
from halftone.error_diffusion import error_diffusion
from halftone.eye import nasanen
from halftone.ordered import blue_noise, white_noise
from halftone.variable_diffusion import ostromoukhov
from images.files import read_halftone, read_image, write_halftone, write_image
from images.listing import survey
from images.resolution import Resolution
from images.transparency import off_background, on_background
from jobs.tasks import HALFTONES, RESTORED, Plan, other_files, output_names
from metrics.codecs import code_within
from metrics.damage import damages
from metrics.quality import SIZE, gray_of, mean_chroma, perceived_psnr, psnr, restoration_metrics, ssim, tone_psnr
from metrics.spectra import Spectrum, cut_patches, measure, plot
from metrics.tables import Sections, mean_of
from reshalf.codec import ResHalfCodec
from utils.command import warn
from utils.errors import UserError, name_errors
from utils.files import check_folder, check_overwriting
from utils.progress import print_above, progress

OURS = "network"
SMALLEST_SIDE = 32
NASANEN = nasanen(radius=SIZE // 2)

GRAYS = {f"{k}/8": (round(255 * k / 8),) * 3 for k in range(1, 8)}
COLOURS = {  # BGR: the corners of the RGB cube, where chroma carriers are strongest, and two common photo colours
    "red": (0, 0, 255),
    "green": (0, 255, 0),
    "blue": (255, 0, 0),
    "cyan": (255, 255, 0),
    "magenta": (255, 0, 255),
    "yellow": (0, 255, 255),
    "skin": (140, 172, 224),
    "sky": (235, 206, 135),
}
PATCH, MARGIN, FIELD = 128, 64, (512, 640)  # 12 patches of 128×128; the margin excludes the start of a diffusion

# The void-and-cluster mask has a period of 64 pixels, so all patches of a constant field are equal and their spectrum
# is discrete. Its high anisotropy comes from this, not from a preferred direction.
CLASSICAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Ostromoukhov": ostromoukhov,
    "Floyd-Steinberg": error_diffusion,
    "void-and-cluster": blue_noise,
    "white noise": white_noise,
}


class FileCodec:
    """A codec whose results pass through the files `folder`/halftone/NAME.png and `folder`/restored/NAME.png."""

    def __init__(self, codec: ResHalfCodec, folder: str | Path):
        self.codec = codec
        self.halftones, self.restorations = Path(folder) / HALFTONES, Path(folder) / RESTORED
        for made in (self.halftones, self.restorations):
            made.mkdir(parents=True, exist_ok=True)

    def halftone(self, bgr: np.ndarray, name: str, resolution: Resolution | None = None) -> tuple[np.ndarray, int]:
        """Encode (H, W, 3) BGR uint8 into halftone/NAME.png: (H, W) {0, 255} as read back, and the file's bits."""
        path = self.halftones / f"{name}.png"
        with name_errors(name):
            write_halftone(path, self.codec.halftone(bgr), resolution)
        return read_halftone(path), 8 * path.stat().st_size

    def restore(self, halftone: np.ndarray, name: str) -> np.ndarray:
        """Decode (H, W) {0, 255}: (H, W, 3) BGR uint8, as an 8-bit file holds it."""
        with name_errors(name):
            return self.codec.restore(halftone)

    def save(
        self, restored: np.ndarray, name: str, alpha: np.ndarray | None = None, resolution: Resolution | None = None
    ) -> None:
        """Write restored/NAME.png with the photo's transparency and resolution."""
        write_image(self.restorations / f"{name}.png", off_background(restored, alpha), alpha, resolution)


def find_photos(folder: Path, save_dir: Path, photo_list: Path | None = None) -> dict[Path, str]:
    """Return the photos of `folder`, or those of it that `photo_list` names, with the names of their outputs.

    Photos that differ in their ending only have it in the name, which is printed once.
    Raises UserError when there are none, when `save_dir` cannot be created, and when an output file in it would
    overwrite a photo.
    """
    photos, ignored = (read_photo_list(photo_list, folder), 0) if photo_list else survey(folder)
    if not photos:
        raise UserError(f"{folder}: no images")
    outputs = [save_dir / kind for kind in (HALFTONES, RESTORED)]
    for output in outputs:
        check_folder(output)
    names, remarks = output_names(photos, photos[0].parent)
    Plan([], remarks + other_files(folder, ignored)).print_remarks()
    check_overwriting(photos, (output / name for output in outputs for name in names.values()))
    return {photo: name.stem for photo, name in names.items()}


def evaluate(
    codec: ResHalfCodec, photos: dict[Path, str], save_dir: Path, *, references: bool, robustness: bool, spectra: bool
) -> dict:
    """Measure `codec` on `photos` and write the halftones, restored photos and plots of spectra to `save_dir`.

    references, robustness: as in `measure_photo`. spectra: also measure the constant fields of GRAYS and COLOURS.
    Returns {"photos": count, "skipped": [file names], "mean": Sections, "constant_fields": {field: {method: summary}},
    "images": {file name: Sections}}. A photo that cannot be read, is too small or does not fit into memory is reported
    on standard error and skipped; where no photo is left, only the first two keys are returned.
    """
    through_files, skipped = FileCodec(codec, save_dir), []

    def check(photo: Path) -> None:
        image = read_image(photo)
        warn(photo, image.remarks)
        check_size(image.bgr, str(photo))

    def measure_file(photo: Path) -> Sections:
        image = read_image(photo)
        return measure_photo(
            through_files,
            on_background(image.bgr, image.alpha),
            photos[photo],
            references=references,
            robustness=robustness,
            alpha=image.alpha,
            resolution=image.resolution,
        )

    usable = _for_each(photos, "checking", check, skipped)  # bad photos are reported before the long measurement
    images = {photo.name: found for photo, found in _for_each(usable, "photos", measure_file, skipped).items()}
    if not images:
        return {"photos": 0, "skipped": skipped}
    mean = mean_of(list(images.values()))
    levels = {}
    if spectra:
        flat = dict(progress(measure_flat(codec), "constant fields", total=len(GRAYS | COLOURS)))
        mean["spectrum"] = spectrum_rows(flat)
        for name, found in flat.items():
            levels[name] = {method: spectrum.summary() for method, spectrum in found.items()}
        for kind, names in (("gray", GRAYS), ("colour", COLOURS)):
            plot(save_dir / f"spectra_{kind}.png", {name: flat[name] for name in names})
    mean["gray ramp"] = {OURS: {"mean chroma": gray_ramp_chroma(codec)}}
    return {"photos": len(images), "skipped": skipped, "mean": mean, "constant_fields": levels, "images": images}


def _for_each(photos: Iterable[Path], title: str, work: Callable[[Path], Any], skipped: list[str]) -> dict[Path, Any]:
    """The result of `work` for each photo; those for which it fails are reported and added to `skipped`."""
    results = {}
    for photo in progress(photos, title, unit="photo"):
        try:
            with name_errors(photo):
                results[photo] = work(photo)
        except UserError as error:
            print_above(f"skipped: {error}")
            skipped.append(photo.name)
    return results


def check_size(bgr: np.ndarray, name: str) -> None:
    """Raise UserError naming the photo (H, W, 3) when a crop of it would be too small for the metrics' windows."""
    if min(bgr.shape[:2]) < SMALLEST_SIDE:
        size = f"{bgr.shape[1]}×{bgr.shape[0]}"
        raise UserError(f"{name}: {size} is too small to measure, {SMALLEST_SIDE} a side at least")


def halftone_metrics(halftone: np.ndarray, photo_bgr: np.ndarray) -> dict[str, float]:
    """Metrics of a halftone (H, W) {0, 255} against the luma of its photo (H, W, 3) BGR.

    Tone PSNR in dB under Gaussians of σ 1.5 and 2 pixels and under the Näsänen eye model, 11×11 taps each. The SSIM of
    the unfiltered halftone mostly measures its texture and is no ranking of quality.
    """
    gray = gray_of(photo_bgr)
    return {
        "tone_psnr_1.5": tone_psnr(halftone, gray, 1.5),
        "tone_psnr_2.0": tone_psnr(halftone, gray, 2.0),
        "nasanen_psnr": perceived_psnr(halftone, gray, NASANEN),
        "ssim_gray": ssim(halftone, gray),
    }


def measure_photo(
    codec: FileCodec,
    bgr: np.ndarray,
    name: str,
    *,
    references: bool,
    robustness: bool,
    alpha: np.ndarray | None = None,
    resolution: Resolution | None = None,
) -> Sections:
    """All metrics of one photo (H, W, 3) BGR uint8 that passes `check_size`: halftone, restoration, robustness.

    alpha, resolution: of the photo, for its files. The halftone is the one in its file. references: also measure
    classical halftones, and JPEG and WebP at 1 bit per pixel and at the bits of the halftone's file. robustness: also
    restore damaged halftones.
    """
    halftone, file_bits = codec.halftone(bgr, name, resolution)
    restored = codec.restore(halftone, name)
    codec.save(restored, name, alpha, resolution)
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
            damage: {"psnr": psnr(target, codec.restore(damaged, name))}
            for damage, damaged, target in damages(halftone, bgr, codec.codec.seed)
        }
    return sections


def _coded_metrics(bgr: np.ndarray, suffix: str, bits: int) -> dict[str, float]:
    coded = code_within(bgr, suffix, bits)
    if coded is None:
        return {**dict.fromkeys(restoration_metrics(bgr, bgr), float("nan")), "bits/pixel": float("nan")}
    return {**restoration_metrics(bgr, coded[0]), "bits/pixel": coded[1] / bgr[..., 0].size}


def measure_flat(codec: ResHalfCodec) -> Iterator[tuple[str, dict[str, Spectrum]]]:
    """Yield (name, {method: Spectrum}) of every constant field of GRAYS, then of COLOURS.

    The classical methods halftone the colour's gray, rounded to 8 bits, and are measured against that level.
    """
    with tempfile.TemporaryDirectory() as folder:
        through_files = FileCodec(codec, folder)
        for name, colour in (GRAYS | COLOURS).items():
            field = np.full((*FIELD, 3), colour, np.uint8)
            level = float(gray_of(field)[0, 0])
            gray = np.full(FIELD, round(255 * level), np.uint8)
            found = {OURS: field_spectrum(through_files.halftone(field, "flat")[0], level)}
            for method, apply in CLASSICAL.items():
                found[method] = field_spectrum(apply(gray), gray[0, 0] / 255)
            yield name, found


def field_spectrum(halftone: np.ndarray, level: float) -> Spectrum:
    """Spectrum of the halftone of a constant field, (H, W) {0, 255} of shape FIELD, gray `level` in 0..1."""
    return measure(cut_patches(halftone, PATCH, MARGIN), level)


def spectrum_rows(flat: dict[str, dict[str, Spectrum]]) -> dict[str, dict[str, float]]:
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


def gray_ramp_chroma(codec: ResHalfCodec) -> float:
    """Mean chroma (`mean_chroma`, levels of 0..255) of the restoration of a gray ramp, 256×256, column x of gray x."""
    ramp = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (256, 1))[..., None], 3, axis=2)
    with tempfile.TemporaryDirectory() as folder:
        through_files = FileCodec(codec, folder)
        return mean_chroma(through_files.restore(through_files.halftone(ramp, "ramp")[0], "ramp"))
