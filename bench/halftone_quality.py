"""Quality of every halftoning method: evaluate.py's halftone metrics on photographs, spectra of constant grays.

python bench/halftone_quality.py [--data_dir test_imgs] [--out result/halftone_quality] [--methods NAME ...]
Writes OUT/halftone_quality.md and a plot of the spectra for each family of methods, OUT/spectra_FAMILY.png.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from halftone import METHODS, Method  # noqa: E402
from images.files import read_image  # noqa: E402
from images.listing import list_images  # noqa: E402
from metrics import spectra  # noqa: E402
from metrics.quality import gray_of  # noqa: E402
from reshalf.evaluation import FIELD, PATCH, field_spectrum, halftone_metrics  # noqa: E402
from utils.files import atomic_write  # noqa: E402

LEVELS = {"1/8": 32, "1/4": 64, "1/2": 127}  # title: gray of 0..255
LONGEST = 512  # pixels a side; larger photographs are shrunk, since searches take seconds on them


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, write it and the plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, default=Path("test_imgs"), help="a folder of photographs")
    parser.add_argument("--out", type=Path, default=Path("result/halftone_quality"), help="where to write")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="NAME")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)

    methods = [METHODS[name] for name in arguments.methods]
    photos = [shrunk(read_image(path).bgr) for path in list_images(arguments.data_dir)]
    spectra_of = {method.name: flat_spectra(method) for method in methods}
    table = report(methods, photos, spectra_of)
    print(table)
    with atomic_write(arguments.out / "halftone_quality.md") as temporary:
        temporary.write_text(table + "\n")
    for family in dict.fromkeys(method.family for method in methods):
        members = [method.name for method in methods if method.family == family]
        panels = {title: {name: spectra_of[name][title] for name in members} for title in LEVELS}
        spectra.plot(arguments.out / f"spectra_{family.replace(' ', '_').replace('-', '_')}.png", panels)
    return 0


def shrunk(bgr: np.ndarray) -> np.ndarray:
    """Return the photograph with no side above LONGEST."""
    scale = LONGEST / max(bgr.shape[:2])
    return bgr if scale >= 1 else cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def flat_spectra(method: Method) -> dict[str, spectra.Spectrum]:
    """Return the spectrum of each constant gray of LEVELS."""
    return {title: field_spectrum(method(np.full(FIELD, gray, np.uint8)), gray / 255) for title, gray in LEVELS.items()}


def report(methods: list[Method], photos: list[np.ndarray], spectra_of: dict[str, dict[str, spectra.Spectrum]]) -> str:
    """Return the table in Markdown: means over the photographs, then figures of the spectra of the constant grays."""
    scores = {}
    for method in methods:
        each = [halftone_metrics(method(np.rint(255 * gray_of(bgr)).astype(np.uint8)), bgr) for bgr in photos]
        scores[method.name] = {key: np.mean([score[key] for score in each]) for key in each[0]}
    metrics = list(next(iter(scores.values())))
    head = ["method", *metrics, *(f"low frequencies {t}" for t in LEVELS), *(f"anisotropy {t}, dB" for t in LEVELS)]
    lines = [
        f"Means over {len(photos)} photographs of at most {LONGEST} pixels a side; metrics as in "
        "reshalf/evaluation.py. Constant grays: share of the power below a quarter of the principal frequency, and "
        f"mean anisotropy, over 12 patches of {PATCH}².",
        "",
        "| " + " | ".join(head) + " |",
        "|---|" + "---|" * (len(head) - 1),
    ]
    for name, score in scores.items():
        flat = spectra_of[name].values()
        cells = [f"{score[key]:.3f}" if key.startswith("ssim") else f"{score[key]:.1f}" for key in metrics]
        cells += [f"{spectrum.low_frequency_energy:.4f}" for spectrum in flat]
        cells += [f"{spectrum.mean_anisotropy:.1f}" for spectrum in flat]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
