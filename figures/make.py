"""Make README's images from a checkpoint and test_imgs/: python -m figures.make [--model CKPT] [--out FOLDER]

NAME_photograph.jpg and NAME_restored.jpg show the same square crop, NAME_halftone.png a smaller crop of its halftone,
enlarged three times; gallery.png shows every classical method. sheet.png shows a sheet to print, sheet_scan.jpg a
corner of its simulated scan, and sheet_restored.jpg the photograph restored from the whole scan.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from bench.paper import capture, print_page
from bench.print_scan import DPI, sheet_on_page
from halftone.gallery import contact_sheet
from images.files import centre_crop, read_image, write_halftone, write_image
from reshalf import ResHalfCodec
from reshalf.sheet.reading import read_sheets
from utils.command import exit_code
from utils.files import atomic_write

HERE = Path(__file__).parent
PHOTOS = HERE.parent / "test_imgs"
ZOOM = 3
SIDES = (288, 288 // ZOOM)  # of the crop and of the enlarged crop, in pixels
CROPS = {"astronaut.jpg": ((16, 112), (60, 66)), "flower.jpg": ((60, 150), (22, 20)), "china.jpg": ((40, 60), (4, 84))}
"""Photograph → top left corner (row, column) of its crop, and, within the crop, of the enlarged halftone crop."""
JPEG_QUALITY = 90
SHEET, SHEET_SIDE, CELL = "coffee.jpg", 288, 4
"""Photograph of the sheet, side in pixels of its crop, and printer dots along a side of a pixel."""


def make_row(codec: ResHalfCodec, name: str, out: Path) -> None:
    """Write the three images of a photograph in CROPS."""
    photo = read_image(PHOTOS / name).bgr
    halftone = codec.halftone(photo)
    crop, enlarged = (
        tuple(slice(at, at + side) for at in corner) for corner, side in zip(CROPS[name], SIDES, strict=True)
    )
    stem = Path(name).stem
    write_jpeg(out / f"{stem}_photograph.jpg", photo[crop])
    write_jpeg(out / f"{stem}_restored.jpg", codec.restore(halftone)[crop])
    write_halftone(out / f"{stem}_halftone.png", np.kron(halftone[crop][enlarged], np.ones((ZOOM, ZOOM), np.uint8)))


def make_sheet(codec: ResHalfCodec, out: Path) -> None:
    """Write the three images of a sheet with the centre of SHEET, printed and scanned at 600 dpi in simulation."""
    photo = centre_crop(read_image(PHOTOS / SHEET).bgr, SHEET_SIDE)
    printed = sheet_on_page(codec.halftone(photo), CELL)
    scan = capture(print_page(printed, DPI), DPI)
    (sheet,) = read_sheets(scan).sheets
    write_image(out / "sheet.png", cv2.resize(printed, None, fx=1 / CELL, fy=1 / CELL, interpolation=cv2.INTER_AREA))
    corner = scan[scan.shape[0] // 9 :, scan.shape[1] * 2 // 3 :]
    write_jpeg(out / "sheet_scan.jpg", corner[: SIDES[0], : SIDES[0]])
    write_jpeg(out / "sheet_restored.jpg", codec.restore(sheet.cells.halftone))


def write_jpeg(path: Path, bgr: np.ndarray) -> None:
    """Write (H, W, 3) BGR uint8 as a JPEG of JPEG_QUALITY."""
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def run(args: argparse.Namespace) -> int:
    codec = ResHalfCodec(args.model)
    for name in CROPS:
        make_row(codec, name, args.out)
    make_sheet(codec, args.out)
    gray = cv2.cvtColor(read_image(PHOTOS / "chelsea.png").bgr, cv2.COLOR_BGR2GRAY)
    write_image(args.out / "gallery.png", contact_sheet(gray))
    return 0


def main(argv: list[str] | None = None) -> int:
    """Make all images; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="checkpoint (default: the shipped one)")
    parser.add_argument("--out", type=Path, default=HERE, help="default: %(default)s")
    return exit_code(lambda: run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
