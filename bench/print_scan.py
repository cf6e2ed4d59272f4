"""Flipped pixels and restored PSNR of sheets after a simulated print and scan (bench/paper.py).

    python bench/print_scan.py [--data_dir test_imgs] [--side 128] [--cells 3 4 5 6 8] [--out result/print_scan.md]

For every cell and capture, means over the photographs' centres: share of flipped pixels, measured and as the reader
estimates it, share of doubtful ones, PSNR of the restoration, its difference from that of the clean file, the gain by
the probabilities of the pixels instead of their decisions (both in float32), and the number of sheets not read.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.paper import PHONE, Capture, Printer, capture, print_page  # noqa: E402
from images.files import centre_crop, read_image  # noqa: E402
from images.listing import list_images  # noqa: E402
from metrics.quality import psnr  # noqa: E402
from reshalf import ResHalfCodec  # noqa: E402
from reshalf.sheet.header import Header, pack_header, picture_number  # noqa: E402
from reshalf.sheet.layout import Layout  # noqa: E402
from reshalf.sheet.reading import read_sheets  # noqa: E402
from utils.files import atomic_write  # noqa: E402
from utils.progress import progress  # noqa: E402

DPI = 600
WORN = Printer(growth=0.028, exposure_noise=0.4, voids=0.6, specks=0.4, toner=0.12)
INK = Printer(spot=0.03, growth=0.035, exposure_noise=0.5, grain=0.025, voids=1.0, specks=0.5, toner=0.12)
DIM = replace(PHONE, perspective=12, wander=0.6, defocus=1.3, shading=0.5, noise=8, jpeg=75)
CASES = {
    "scan, 300 dpi": (Printer(), Capture(resolution=300)),
    "scan, 600 dpi": (Printer(), Capture(resolution=600)),
    "scan, 1200 dpi": (Printer(), Capture(resolution=1200)),
    "phone, 340 pixels per inch": (Printer(), PHONE),
    "phone, 500 pixels per inch": (Printer(), replace(PHONE, resolution=500)),
    "scan, 600 dpi, printed at 97 %": (Printer(scale=0.97), Capture(resolution=600)),
    "scan, 600 dpi, worn printer": (WORN, Capture(resolution=600)),
    "scan, 600 dpi, ink on plain paper": (INK, Capture(resolution=600)),
    "phone, 340 pixels per inch, curled page, dim light": (Printer(), DIM),
}


def sheet_on_page(halftone: np.ndarray, cell: int, dpi: int = DPI) -> np.ndarray:
    """The frame of one sheet with a narrow white border, in printer dots, uint8 {0, 255}."""
    height, width = halftone.shape
    header = Header(0, 0, 1, 1, picture_number(halftone), cell, dpi, width, height)
    frame = Layout(width, height).cells(halftone, pack_header(header))
    return np.pad(frame.repeat(cell, 0).repeat(cell, 1), 8 * cell, constant_values=255)


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, default=Path("test_imgs"), help="a folder of photographs")
    parser.add_argument("--side", type=int, default=128, help="of the photographs' centres, in pixels")
    parser.add_argument("--photos", type=int, help="number of photographs (default: all)")
    parser.add_argument("--cells", type=int, nargs="+", default=[3, 4, 5, 6, 8], help="printer dots a pixel")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("result/print_scan.md"), help="where to write")
    arguments = parser.parse_args(argv)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    codec = ResHalfCodec(precision="float32")
    photos = [centre_crop(read_image(path).bgr, arguments.side) for path in list_images(arguments.data_dir)]
    rows: dict[tuple[int, str], list] = {}
    for number, photo in enumerate(progress(photos[: arguments.photos], "photographs")):
        halftone = codec.halftone(photo)
        clean = psnr(photo, codec.restore(halftone))
        for cell in arguments.cells:
            prints: dict[Printer, np.ndarray] = {}
            for case in arguments.cases:
                printer, device = CASES[case]
                if printer not in prints:
                    prints[printer] = print_page(sheet_on_page(halftone, cell), DPI, printer, number)
                scan = capture(prints[printer], DPI, device, printer, number)
                rows.setdefault((cell, case), []).append(_measured(codec, scan, photo, halftone, clean))
    table = _table(rows)
    print(table)
    with atomic_write(arguments.out) as temporary:
        temporary.write_text(table + "\n")
    return 0


def _measured(codec, scan, photo, halftone, clean) -> list[float] | None:
    """Flips, estimated flips, doubtful share, PSNR, its loss, gain by probabilities; None where nothing was read."""
    sheets = read_sheets(scan).sheets
    if not sheets:
        return None
    cells = sheets[0].cells
    found = psnr(photo, codec.restore(cells.halftone))
    soft = psnr(photo, codec.restore_uncertain(cells.levels)) - found
    return [float(np.mean(cells.halftone != halftone)), cells.flips, cells.doubtful, found, clean - found, soft]


def _table(rows: dict[tuple[int, str], list]) -> str:
    """Flips and PSNR for every capture and cell; then all that was measured."""
    cells, cases = (list(dict.fromkeys(key[part] for key in rows)) for part in (0, 1))
    lines = [f"| capture | {' | '.join(f'cell {cell}' for cell in cells)} |", "|---|" + "---|" * len(cells)]
    lines += [f"| {case} | {' | '.join(_short(rows[cell, case]) for cell in cells)} |" for case in cases]
    lines += [
        "",
        "| cell | capture | flips | estimated | doubtful | PSNR | loss | gain by probabilities | not read |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (cell, case), measured in rows.items():
        read = [values for values in measured if values]
        numbers = ["–"] * 6
        if read:
            flips, estimated, doubtful, found, loss, gain = np.mean(read, axis=0)
            numbers = [
                f"{flips:.3%}",
                f"{estimated:.3%}",
                f"{doubtful:.2%}",
                f"{found:.2f}",
                f"{loss:.2f}",
                f"{gain:.2f}",
            ]
        lines.append(f"| {cell} | {case} | {' | '.join(numbers)} | {len(measured) - len(read)} of {len(measured)} |")
    return "\n".join(lines)


def _short(measured: list) -> str:
    """Mean flips and PSNR of the sheets that were read, and how many were not."""
    read = [values for values in measured if values]
    failed = f"{len(measured) - len(read)} of {len(measured)} not read"
    if not read:
        return failed
    flips, _, _, found, loss, _ = np.mean(read, axis=0)
    return f"{flips:.3%}, {found:.2f} dB ({-loss:+.2f})" + (f", {failed}" if len(read) < len(measured) else "")


if __name__ == "__main__":
    sys.exit(main())
