"""Halftones that were scaled, turned, cut out of a screenshot or saved as JPEG, and recovered from their own grid.

    python bench/regrid.py [--photos FILE ...] [--side 384] [--model CKPT] [--only WORD]
    python bench/regrid.py --megapixels 16

The first form prints, for each change and interpolation, means over the photographs whose halftone was recovered: wrong
pixels in per cent, PSNR of the restoration, the same for the unchanged halftone (in the same part of the photograph),
and how many were recovered. The second prints seconds per megapixel of image and peak memory for one large image of
each kind, including a photograph that is no halftone. OpenCV resamples, and Pillow where it filters against aliasing.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from images.files import centre_crop, read_image  # noqa: E402
from metrics.quality import psnr  # noqa: E402
from reshalf import SHIPPED, ResHalfCodec  # noqa: E402
from reshalf.regrid import regrid  # noqa: E402
from utils.hardware import peak_memory  # noqa: E402

PHOTOS = [ROOT / "test_imgs" / name for name in ("astronaut.jpg", "chelsea.png", "china.jpg", "flower.jpg")]
OPENCV = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
PILLOW = {"bicubic, antialiased": Image.Resampling.BICUBIC, "Lanczos, antialiased": Image.Resampling.LANCZOS}
SHRUNK, ENLARGED = (0.75, 0.8, 0.85, 0.9, 0.95), (1.03, 1.37, 2.0, 3.3)
ANGLES = (1, 7, 20, 45)


class Changed(NamedTuple):
    """An image (H, W) uint8; the halftone's pixel (column, row) is at matrix @ (column, row) + shift in it."""

    image: np.ndarray
    matrix: np.ndarray
    shift: np.ndarray


def scaled(halftone: np.ndarray, across: float, down: float, interpolation: str) -> Changed:
    """(H, W) enlarged by a factor along x and another along y."""
    size = round(halftone.shape[1] * across), round(halftone.shape[0] * down)
    if interpolation in PILLOW:
        image = np.asarray(Image.fromarray(halftone).resize(size, PILLOW[interpolation]))
    else:
        image = cv2.resize(halftone, size, interpolation=OPENCV[interpolation])
    factors = np.array(size) / halftone.shape[::-1]
    # OpenCV's nearest neighbour takes the pixel to the left; the sum is accurate to a quarter of a pixel.
    return Changed(image, np.diag(factors), (factors - 1) / 2 + (0.25 if interpolation == "nearest" else 0))


def turned(halftone: np.ndarray, angle: float, scale: float, interpolation: str) -> Changed:
    """(H, W) turned counterclockwise by `angle` degrees on a white canvas that holds all of it."""
    matrix = cv2.getRotationMatrix2D((0, 0), angle, scale)[:, :2]
    corners = np.array([(x, y) for x in (0, halftone.shape[1]) for y in (0, halftone.shape[0])]) @ matrix.T
    shift = 4 - corners.min(axis=0)
    size = np.ceil(np.ptp(corners, axis=0) + 8).astype(int)
    image = cv2.warpAffine(
        halftone, np.column_stack([matrix, shift]), size.tolist(), flags=OPENCV[interpolation], borderValue=255
    )
    return Changed(image, matrix, shift)


def on_a_page(changed: Changed, photo: np.ndarray) -> Changed:
    """A screenshot: a gray page with lines of text, a photograph, and the image."""
    height, width = changed.image.shape
    page = np.full((height + 160, width + 500), 240, np.uint8)
    page[:40] = 70
    gray = cv2.resize(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), (400, 300))
    page[60 : 60 + min(300, height), 30:430] = gray[:height]
    for line in range(80, page.shape[0] - 8, 18):
        cv2.putText(page, "A line of text beside the pictures", (70, line), 0, 0.5, 20, 1, cv2.LINE_AA)
    page[101 : 101 + height, 457 : 457 + width] = changed.image
    return changed._replace(image=page, shift=changed.shift + (457, 101))


def as_jpeg(changed: Changed, quality: int) -> Changed:
    """The image after a JPEG file."""
    data = cv2.imencode(".jpg", changed.image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return changed._replace(image=cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def changes() -> Iterator[tuple[str, str, Callable[[np.ndarray, np.ndarray], Changed]]]:
    """Name of the change, interpolation, function of halftone and photograph."""
    smooth = ("bilinear", "bicubic", "area", "Lanczos, antialiased")
    scales = [(s, s, i) for s in SHRUNK for i in ("nearest", *smooth)]
    scales += [(s, s, i) for s in ENLARGED for i in OPENCV] + [(1.5, 2.5, "bilinear"), (6.0, 5.7, "bicubic")]
    for across, down, method in scales:
        name = f"scaled by {across:g}" if across == down else f"scaled by {across:g} × {down:g}"
        yield name, method, lambda h, _, a=(across, down, method): scaled(h, *a)
    for angle in ANGLES:
        for scale in (0.9, 1.0, 1.5):
            name = f"turned by {angle}°" + (f", scaled by {scale:g}" if scale != 1 else "")
            yield name, "bilinear", lambda h, _, a=(angle, scale): turned(h, *a, "bilinear")
    for scale in (1.0, 1.37):
        for quality in (50, 75):
            name = f"scaled by {scale:g}, JPEG {quality}"
            yield name, "bilinear", lambda h, _, s=scale, q=quality: as_jpeg(scaled(h, s, s, "bilinear"), q)
    for scale in (1.0, 1.6):
        name = f"screenshot, scaled by {scale:g}"
        yield name, "bilinear", lambda h, p, s=scale: on_a_page(scaled(h, s, s, "bilinear"), p)
    yield (
        "screenshot, turned by 20°, JPEG 75",
        "bilinear",
        lambda h, p: as_jpeg(on_a_page(turned(h, 20, 1.3, "bilinear"), p), 75),
    )


def measure(codec: ResHalfCodec, photo: np.ndarray, halftone: np.ndarray, clean: np.ndarray, changed: Changed):
    """(wrong pixels in per cent, PSNR, PSNR of the unchanged halftone's restoration); None if not recovered."""
    found = regrid(changed.image)
    if found is None:
        return None
    restored = codec.restore(found.halftone)
    inverse = np.linalg.inv(changed.matrix)
    # The place in the original of each recovered pixel: a shift, and a quarter turn where the angle was ambiguous.
    turn = np.rint(inverse @ found.matrix).astype(int)
    first = np.rint(inverse @ (found.origin - changed.shift)).astype(int)
    columns, rows = np.meshgrid(*(np.arange(side) for side in found.halftone.shape[::-1]))
    x, y = (turn[k, 0] * columns + turn[k, 1] * rows + first[k] for k in (0, 1))
    inside = (x >= 0) & (y >= 0) & (x < halftone.shape[1]) & (y < halftone.shape[0])
    x, y = x[inside], y[inside]
    if len(x) < halftone.size / 2:
        return None
    wrong = np.mean(found.halftone[inside] != halftone[y, x])
    scores = (psnr(photo[y, x][None], part[None]) for part in (restored[inside], clean[y, x]))
    return 100 * wrong, *scores


def table(codec: ResHalfCodec, photos: list[np.ndarray], only: str) -> None:
    """Print the table of all changes whose name or interpolation contains a word."""
    halftones = [codec.halftone(photo) for photo in photos]
    cleans = [codec.restore(halftone) for halftone in halftones]
    print(f"{'change':36}{'interpolation':22}{'wrong %':>9}{'restored dB':>13}{'unchanged dB':>14}{'recovered':>11}")
    for name, method, change in changes():
        if only not in f"{name} {method}":
            continue
        found = []
        for photo, halftone, clean in zip(photos, halftones, cleans, strict=True):
            scores = measure(codec, photo, halftone, clean, change(halftone, photo))
            found += [scores] if scores else []
        means = np.mean(found, axis=0) if found else (np.nan,) * 3
        numbers = f"{means[0]:9.2f}{means[1]:13.2f}{means[2]:14.2f}"
        print(f"{name:36}{method:22}{numbers}{len(found):6d} of {len(photos)}", flush=True)


def speed(megapixels: float) -> None:
    """Print seconds per megapixel of image."""
    side = int(np.sqrt(megapixels * 1e6))
    photo = cv2.resize(read_image(PHOTOS[2]).bgr, (side, side), interpolation=cv2.INTER_CUBIC)
    halftone = ResHalfCodec(fast=True).halftone(photo)
    small = {factor: halftone[: int(side / factor), : int(side / factor)] for factor in (1.37, 3.3)}
    images = {
        "photograph": cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY),
        "on a border, not scaled": cv2.copyMakeBorder(halftone, 0, 0, 0, 1, cv2.BORDER_CONSTANT, value=128),
        "scaled by 0.9, bilinear": scaled(halftone, 0.9, 0.9, "bilinear").image,
        "scaled by 1.37, bicubic": scaled(small[1.37], 1.37, 1.37, "bicubic").image,
        "scaled by 3.3, bilinear": scaled(small[3.3], 3.3, 3.3, "bilinear").image,
        "turned by 20°, bilinear": turned(small[1.37], 20, 1.0, "bilinear").image,
    }
    regrid(halftone[:256, :256])  # compile first
    for name, image in images.items():
        start, processor = time.perf_counter(), time.process_time()
        recovered = regrid(image) is not None
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        size = image.size / 1e6
        outcome = "recovered" if recovered else "refused"
        print(f"{name:28}{size:6.1f} megapixels  {outcome:10}{seconds / size:6.2f} s/Mpixel", end="")
        print(f"{processor / size:7.2f} s/Mpixel of processor time  peak {peak_memory() / 1e9:.1f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, nargs="+", default=PHOTOS)
    parser.add_argument("--side", type=int, default=384, help="side of the centre crops in pixels")
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--only", default="", help="only changes whose name or interpolation contains this")
    parser.add_argument("--megapixels", type=float, help="measure the time of large images instead")
    arguments = parser.parse_args()
    if arguments.megapixels:
        speed(arguments.megapixels)
        return
    photos = [np.ascontiguousarray(centre_crop(read_image(path).bgr, arguments.side)) for path in arguments.photos]
    table(ResHalfCodec(arguments.model), photos, arguments.only)


if __name__ == "__main__":
    main()
