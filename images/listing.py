"""Which files of a folder are images: by their ending, or else by their content."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from images import pnm, tiff
from utils.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".jp2",
    }
    | {".pbm", ".pgm", ".ppm", ".pnm", ".pam", ".pfm", ".qoi", ".sgi", ".ras", ".tga", ".pcx"}
)
# Unsupported formats; they are listed, so that each is reported as skipped.
OTHER_SUFFIXES = frozenset(
    {".heic", ".heif", ".jxl", ".psd", ".svg", ".exr", ".hdr"}
    | {".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"}
)
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", *tiff.SIGNATURES, *pnm.SIGNATURES)
# WebP, AVIF, Netpbm, BMP (its reserved bytes are zero), JPEG 2000.
_PATTERNS = re.compile(
    rb"RIFF....WEBP|....ftypavif|P[1-6]\s+(#[^\n]*\n\s*)*\d|BM....\0{4}|\0\0\0\x0cjP  \r\n", re.DOTALL
)


class Listing(NamedTuple):
    """Images of a folder, sorted, and the number of other files; hidden files are not counted."""

    images: list[Path]
    ignored: int


def list_images(source: str | Path, recursive: bool = False) -> list[Path]:
    """The images of `survey`."""
    return survey(source, recursive).images


def survey(source: str | Path, recursive: bool = False, except_below: Path | None = None) -> Listing:
    """The images in the folder `source`, with `recursive` also in its subfolders; or `source` itself if it is a file.

    A file is an image by its suffix (any case) or its first bytes; hidden files are left out. Some paths that are no
    images are listed, so that `read_image` reports why they are skipped: a folder named x.png and, with `recursive`, a
    folder without permission or a link to a parent folder. Other folders named x.png are searched with `recursive`,
    but those below the resolved path `except_below`.
    Raises UserError when `source` is missing or a folder that is not readable.
    """
    source = Path(source)
    if not source.is_dir():
        if source.exists():
            return Listing([source], 0)
        kind = "file" if source.suffix.lower() in IMAGE_SUFFIXES else "folder"
        raise UserError(f"{source}: no such {kind}")
    try:
        images, others = _files_in(source, recursive, (os.path.realpath(source),), except_below)
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}") from error
    return Listing(sorted(images), others)


def _files_in(
    folder: Path, recursive: bool, above: tuple[str, ...], except_below: Path | None
) -> tuple[list[Path], int]:
    found, others = [], 0
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if not (recursive and path.is_dir()):
            if path.suffix.lower() in IMAGE_SUFFIXES | OTHER_SUFFIXES or _is_image(path):
                found.append(path)
            elif not path.is_dir():
                others += 1
            continue
        real = os.path.realpath(path)
        if real in above:
            found.append(path)
            continue
        if except_below and Path(real).is_relative_to(except_below):
            continue
        try:
            inside, more = _files_in(path, recursive, (*above, real), except_below)
            found, others = found + inside, others + more
        except PermissionError:
            found.append(path)
    return found, others


def _is_image(path: Path) -> bool:
    """Whether the content of a regular file begins like one of the formats that are read."""
    try:
        if not path.is_file():  # opening a named pipe would block
            return False
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError:
        return False
    return start.startswith(_SIGNATURES) or _PATTERNS.match(start) is not None
