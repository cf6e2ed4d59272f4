"""Samples of each tab, made from the photographs in test_imgs/ when the page starts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from descreen.screening import rescreen
from images.files import centre_crop, read_image, write_halftone, write_image
from reshalf.sheet.page import draw_pages, split_picture
from web.actions import Result

THUMBNAIL = 160


class Sample(NamedTuple):
    """An image file, its thumbnail, and its result if it has been computed."""

    name: str
    path: Path
    thumbnail: Path
    result: Result | None


def make_samples(paths: Sequence[Path], folder: Path, work: Callable[[Path], Result]) -> list[Sample]:
    """Samples of images, with thumbnails in `folder`; computes the result of the first with `work`."""
    first = work(paths[0])
    first.values.pop("time")  # includes compilation and loading
    return [
        Sample(path.stem.replace("_", " "), path, _thumbnail(path, folder), None if number else first)
        for number, path in enumerate(paths)
    ]


def make_halftones(photos: Sequence[Path], folder: Path, halftone: Callable[[np.ndarray], np.ndarray]) -> list[Path]:
    """Write the `halftone` of each photograph into `folder`; returns the paths."""
    made = [folder / f"{photo.stem}_halftone.png" for photo in photos]
    for photo, path in zip(photos, made, strict=True):
        write_halftone(path, halftone(read_image(photo).bgr))
    return made


def make_scans(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Write each photograph in four screened inks, with increasing pitch, into `folder`; returns the paths."""
    made = [folder / f"{photo.stem}_printed.png" for photo in photos]
    for number, (photo, path) in enumerate(zip(photos, made, strict=True)):
        write_image(path, rescreen(read_image(photo).bgr, [], pitch=3.5 + number))
    return made


def make_page_photos(photos: Sequence[Path], folder: Path, halftone: Callable[[np.ndarray], np.ndarray]) -> list[Path]:
    """Write a gray, slightly turned image of the printed sheet of each photograph into `folder`; returns the paths."""
    made = [folder / f"{photo.stem}_on_paper.png" for photo in photos]
    for photo, path in zip(photos, made, strict=True):
        dots = halftone(read_image(photo).bgr)
        page = next(draw_pages(dots, split_picture(dots.shape[1], dots.shape[0], "a4", 300, 3), photo.name))
        gray = cv2.convertScaleAbs(page, alpha=0.75, beta=40)
        turn = cv2.getRotationMatrix2D((0, 0), -1.5, 1)
        write_image(path, cv2.warpAffine(gray, turn, gray.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=120))
    return made


def _thumbnail(path: Path, folder: Path) -> Path:
    bgr = read_image(path).bgr
    square = centre_crop(bgr, min(bgr.shape[:2]))
    small = cv2.resize(square, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    write_image(folder / f"{path.stem}_thumbnail.png", small)
    return folder / f"{path.stem}_thumbnail.png"
