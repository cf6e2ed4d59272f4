"""Actions of the page, independent of gradio: input file → result images on disk, and measured values."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from descreen.baselines import BASELINES
from descreen.command import SHIPPED as DESCREENER
from descreen.command import load_trained
from descreen.engine import Finder, Restorer, baseline_restorer
from descreen.inks import BELIEFS
from descreen.regions import find_regions, overlay
from descreen.scan_job import describe
from descreen.screening import rescreen
from halftone.light import luminance
from halftone.methods import METHODS
from halftone.screens import STANDARD_ANGLES
from images.files import Image, read_image, write_halftone, write_image
from images.transparency import off_background, on_background
from metrics import quality as scores
from reshalf import ResHalfCodec
from reshalf.repair import RepairedFile, read_repaired
from reshalf.sheet.markers import find_markers
from reshalf.sheet.page import PageFormat, draw_pages, shrink_to_sheet, split_picture, write_pdf
from reshalf.sheet.read_job import restore
from reshalf.sheet.reading import describe_sheet, read_sheets
from utils.errors import UserError, name_errors
from web.scratch import Scratch

PHOTO, HALFTONE, RESTORED, SCAN, SCREENED = "photograph", "halftone", "restored", "scan", "new screen"
REGIONS = "screened parts"
NETWORK = "network"
FAST, AS_TRAINED, BEST = "fast: error diffusion", "as trained", "best: ten times slower"
PAPER = "the paper's network"
DETECT, MAKE_SHEET, READ_SHEET = "detect", "make a sheet", "read a sheet"
SCAN_FACTOR = 8
"""Pixels of a scan of a sheet, relative to the other tabs' limit: each pixel of its picture covers several."""
DPI = 600
"""Of the printer for which sheets are made."""

Progress = Callable[[float, str], None]
"""Receives the completed share, 0 to 1, and the name of the current step."""


def _ignore(share: float, step: str) -> None:
    """The progress callback used where the caller passes none."""


class Result(NamedTuple):
    """A result: image files by name, all of `size` (H, W), pairs of names to compare, measured values and a remark."""

    size: tuple[int, int]
    images: dict[str, Path]
    pairs: list[tuple[str, str]]
    values: dict[str, str]
    downloads: dict[str, Path]
    remark: str = ""


class Actions:
    """The actions of the page.

    codec       the network that dithers and restores
    scratch     folder of the results
    max_pixels  larger images are refused
    paper       the paper's network, offered beside `codec`
    Every method takes the path of a file, options, and a `progress` callback. Raises UserError, one line that begins
    with the file's name.
    """

    def __init__(self, codec: ResHalfCodec, scratch: Scratch, max_pixels: int, paper: ResHalfCodec | None = None):
        self.codec, self.scratch, self.max_pixels = codec, scratch, max_pixels
        others = {PAPER: paper} if paper else {}
        self.encoders = _searches(codec) | others
        self.decoders = {AS_TRAINED: codec} | others
        self.descreeners: dict[str, tuple[Finder, Restorer] | None] = _descreeners(DESCREENER, str(codec.device))
        self.descreeners |= dict.fromkeys(("bilateral", *BASELINES))  # without learning; best first

    def dither(self, path: str | Path, encoder: str = AS_TRAINED, progress: Progress = _ignore) -> Result:
        """Halftone a photograph with one of `encoders`, then restore the colours from the halftone alone."""
        with _name_errors_without_folder(path):
            progress(0.0, "Reading the photograph")
            photo = read_image(path, max_pixels=self.max_pixels)
            start = time.perf_counter()
            progress(0.1, "Dithering")
            codec = self.encoders[encoder]
            bgr = on_background(photo.bgr, photo.alpha)
            halftone = codec.halftone(bgr)
            progress(0.3, "Restoring the colours")
            restored = codec.restore(halftone)
            seconds = time.perf_counter() - start
            progress(0.9, "Measuring and writing")
            files = self._write(path, {PHOTO: photo.bgr, HALFTONE: halftone, RESTORED: restored}, photo)
            values = {"restored, PSNR": f"{scores.psnr(bgr, restored):.2f} dB"}
            if min(halftone.shape) >= scores.SIZE:
                values["restored, SSIM"] = f"{scores.ssim(bgr, restored):.3f}"
                values["halftone, tone (σ 1.5)"] = f"{scores.tone_psnr(halftone, bgr):.2f} dB"
        values["halftone, 1 bit per pixel"] = _bytes(files[HALFTONE].stat().st_size)
        pairs = [(HALFTONE, RESTORED), (PHOTO, RESTORED), (PHOTO, HALFTONE)]
        values["time"] = f"{seconds:.2f} s"
        return _result(bgr, files, pairs, values, (HALFTONE, RESTORED), photo.remarks)

    def restore(
        self,
        path: str | Path,
        force: bool = False,
        invert: bool = False,
        decoder: str = AS_TRAINED,
        progress: Progress = _ignore,
    ) -> Result:
        """Restore the colours of a halftone with one of `decoders`, that of the network which made it.

        The halftone is repaired first (reshalf.repair); `invert` swaps black and white.

        Raises UserError for any other image unless `force` is set.
        """
        with _name_errors_without_folder(path):
            progress(0.0, "Reading the halftone")
            codec = self.decoders[decoder]
            source = read_repaired(path, codec.has_pilot, invert, force, max_pixels=self.max_pixels)
            halftone = source.halftone
            start = time.perf_counter()
            progress(0.2, "Restoring the colours")
            restored = codec.restore(halftone)
            seconds = time.perf_counter() - start
            progress(0.9, "Writing")
            files = self._write(path, {HALFTONE: halftone, RESTORED: restored}, source)
        values = {"black pixels": f"{np.mean(halftone == 0):.0%}", "time": f"{seconds:.2f} s"}
        return _result(halftone, files, [(HALFTONE, RESTORED)], values, (RESTORED,), source.remarks)

    def descreen(
        self,
        path: str | Path,
        method: str,
        strength: float = 1.0,
        pitch: float | None = None,
        dot: str = "round",
        progress: Progress = _ignore,
    ) -> Result:
        """Descreen a scan and rescreen it: with `pitch` in pixels at the standard angles of the inks; None
        selects the detected pitch and angles."""
        with _name_errors_without_folder(path):
            progress(0.0, "Reading the scan")
            scan = read_image(path, max_pixels=self.max_pixels)
            start = time.perf_counter()
            progress(0.1, "Detecting the screen")
            bgr = on_background(scan.bgr, scan.alpha)
            find, descreen = self.descreeners[method] or (
                find_regions,
                baseline_restorer(method, strength, "gaussian"),
            )
            regions = find(bgr)
            progress(0.2, "Descreening")
            restored = descreen(bgr, regions)
            progress(0.6, "Rescreening")
            screened = rescreen(restored, regions, pitch, None if pitch is None else STANDARD_ANGLES, dot)
            seconds = time.perf_counter() - start
            progress(0.9, "Writing")
            images = {SCAN: scan.bgr, RESTORED: restored, SCREENED: screened, REGIONS: overlay(bgr, regions)}
            files = self._write(path, images, scan)
        pairs = [(SCAN, RESTORED), (SCAN, REGIONS), (SCAN, SCREENED), (RESTORED, SCREENED)]
        remarks = (f"Detected screen: {describe(regions, bgr.shape)}", *scan.remarks)
        return _result(bgr, files, pairs, {"time": f"{seconds:.2f} s"}, (RESTORED, SCREENED), remarks)

    def classical(self, path: str | Path, method: str, linear: bool = False, progress: Progress = _ignore) -> Result:
        """Halftone the gray of a photograph with a method of halftone.METHODS; `linear`: in linear light."""
        with _name_errors_without_folder(path):
            progress(0.0, "Reading the photograph")
            source = read_image(path, max_pixels=self.max_pixels)
            photo = on_background(source.bgr, source.alpha)
            gray = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
            start = time.perf_counter()
            progress(0.2, "Dithering")
            halftone = METHODS[method](luminance(photo) if linear else gray)
            seconds = time.perf_counter() - start
            progress(0.8, "Measuring and writing")
            files = self._write(path, {"gray": cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), HALFTONE: halftone}, source)
            values = {}
            if min(gray.shape) >= scores.SIZE and not linear:
                values["tone (σ 1.5)"] = f"{scores.tone_psnr(halftone, photo):.2f} dB"
        values |= {"1 bit per pixel": _bytes(files[HALFTONE].stat().st_size), "time": f"{seconds:.3f} s"}
        remarks = (f"Source: {METHODS[method].source}", *source.remarks)
        return _result(gray, files, [("gray", HALFTONE)], values, (HALFTONE,), remarks)

    def sheet(
        self,
        path: str | Path,
        task: str = DETECT,
        paper: str = "a4",
        cell: int = 6,
        one_sheet: bool = True,
        progress: Progress = _ignore,
    ) -> Result:
        """Make a sheet to print of a photograph, or restore the colours from a scan or photograph of a sheet.

        task       MAKE_SHEET, READ_SHEET, or DETECT: an image with markers is read
        paper, cell, one_sheet  as for `python -m reshalf.sheet make`
        """
        with _name_errors_without_folder(path):
            progress(0.0, "Reading the image")
            reads = task != MAKE_SHEET
            photo = read_image(path, max_pixels=self.max_pixels * (SCAN_FACTOR if reads else 1))
            bgr = on_background(photo.bgr, photo.alpha)
            if reads and (task == READ_SHEET or find_markers(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))):
                return self._read_sheet(path, bgr, photo, progress)
            if bgr.shape[0] * bgr.shape[1] > self.max_pixels:
                read_image(path, max_pixels=self.max_pixels)  # raises UserError
            return self._make_sheet(path, bgr, photo, PageFormat(paper, DPI, cell), one_sheet, progress)

    def _make_sheet(
        self, path: str | Path, bgr: np.ndarray, photo: Image, page: PageFormat, one_sheet: bool, progress: Progress
    ) -> Result:
        start = time.perf_counter()
        progress(0.1, "Dithering")
        choices = page.paper, page.dpi, page.cell
        bgr = shrink_to_sheet(bgr, *choices) if one_sheet else bgr
        halftone = self.codec.halftone(bgr)
        progress(0.4, "Drawing the pages")
        try:
            split = split_picture(halftone.shape[1], halftone.shape[0], *choices)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None
        pages = list(draw_pages(halftone, split, Path(path).name))
        seconds = time.perf_counter() - start
        progress(0.7, "Writing")
        files = self._write(path, {PHOTO: bgr, HALFTONE: halftone}, photo._replace(alpha=None, resolution=None))
        to_print = {"sheet as PDF": files[HALFTONE].with_name(f"{Path(path).stem[:80]}_sheet.pdf")}
        write_pdf(to_print["sheet as PDF"], [each > 127 for each in pages], DPI)
        if len(pages) == 1:
            to_print["sheet as PNG"] = to_print["sheet as PDF"].with_suffix(".png")
            write_halftone(to_print["sheet as PNG"], pages[0], (DPI, DPI))
        values = {"sheets": str(len(pages)), "dots per pixel": str(page.cell), "time": f"{seconds:.2f} s"}
        remarks = (f"Print the PDF at 100 % on a printer of {DPI} dpi, then scan it at {DPI} dpi", *photo.remarks)
        result = _result(bgr, files, [(PHOTO, HALFTONE)], values, (), remarks)
        return result._replace(downloads=to_print)

    def _read_sheet(self, path: str | Path, bgr: np.ndarray, scan: Image, progress: Progress) -> Result:
        start = time.perf_counter()
        progress(0.2, "Finding the sheet and its pixels")
        reading = read_sheets(bgr)
        if not reading.sheets:
            raise UserError(f"{path}: {'; '.join(reading.failures)}")
        sheet, *others = reading.sheets
        halftone = sheet.cells.halftone
        progress(0.7, "Restoring the colours")
        restored = restore(self.codec, sheet.cells.levels)
        seconds = time.perf_counter() - start
        progress(0.9, "Writing")
        files = self._write(path, {HALFTONE: halftone, RESTORED: restored}, scan._replace(alpha=None, resolution=None))
        values = {
            "doubtful pixels": f"{sheet.cells.doubtful:.2%}",
            "flipped pixels, estimate": f"{sheet.cells.flips:.3%}",
            "pilot": f"{sheet.pilot:.0f} σ",
            "time": f"{seconds:.2f} s",
        }
        remarks = [*filter(None, (describe_sheet(sheet),)), *scan.remarks, *reading.failures]
        if sheet.cells.header.count > 1 or others:
            remarks.append("python -m reshalf.sheet read restores several sheets, and joins those of one picture")
        return _result(halftone, files, [(HALFTONE, RESTORED)], values, (HALFTONE, RESTORED), remarks)

    def _write(self, path: str | Path, images: dict[str, np.ndarray], source: Image | RepairedFile) -> dict:
        """Write images as NAME_image.png, halftones with one bit per pixel; returns their paths by name.

        All have the resolution of the source; the source itself and the restoration also have its transparency.
        """
        folder, files = self.scratch.new(), {}
        for name, image in images.items():
            files[name] = folder / f"{Path(path).stem[:80]}_{name.replace(' ', '_')}.png"
            if image.ndim == 2:
                write_halftone(files[name], image, source.resolution)
                continue
            alpha = getattr(source, "alpha", None) if name in (PHOTO, SCAN, RESTORED) else None
            image = off_background(image, alpha) if name == RESTORED else image
            write_image(files[name], image, alpha, source.resolution)
        return files


def _result(image, files, pairs, values, downloads, remarks=()) -> Result:
    remark = " ".join(f"{remark[:1].upper()}{remark[1:]}." for remark in remarks)
    return Result(image.shape[:2], files, pairs, values, {name: files[name] for name in downloads}, remark)


def _descreeners(path: Path, device: str) -> dict[str, tuple[Finder, Restorer] | None]:
    """The network of a checkpoint, if it exists, with detected inks and with those it can be told, by label."""
    if not path.exists():
        return {}
    engine = load_trained(path, device)
    kinds = BELIEFS if engine.network.inks is not None else {}
    labels = {NETWORK: None} | {f"{NETWORK}, {kind} inks": kind for kind in kinds}
    return {label: (partial(engine.find, inks=kind), engine.restore) for label, kind in labels.items()}


def _searches(codec: ResHalfCodec) -> dict[str, ResHalfCodec]:
    """The halftone searches that this network supports, by their label."""
    searches = {}
    for name, choices in {FAST: {"fast": True}, AS_TRAINED: None, BEST: {"best": True}}.items():
        with suppress(UserError):  # no search, or a decoder without gradients
            other = choices and ResHalfCodec(codec.network, str(codec.device), tile=codec.tile, **choices)
            searches[name] = other or codec
    return searches


@contextmanager
def _name_errors_without_folder(path: str | Path) -> Iterator[None]:
    """Raise errors of a file as UserError, one line with the file's name but without its upload folder."""
    try:
        with name_errors(path):
            yield
    except UserError as error:
        raise UserError(str(error).replace(str(path), Path(path).name)) from None


def _bytes(count: int) -> str:
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"
