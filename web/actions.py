"""What the buttons do, without the page: a file in, pictures in files and figures out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from descreen.baselines import BASELINES
from descreen.command import CHECKPOINT as DESCREENER
from descreen.command import load_trained
from descreen.engine import Restorer, baseline_restorer
from descreen.scan_job import describe
from descreen.screen_finder import find_screens
from descreen.screening import screen_again
from halftone.light import luminance
from halftone.methods import METHODS
from halftone.screens import TRADE_ANGLES
from images.files import read_halftone, read_image, write_halftone, write_image
from metrics import banded as scores
from reshalf import ResHalfCodec
from utils.errors import UserError, name_errors
from web.scratch import Scratch

PHOTO, HALFTONE, RESTORED, SCAN, SCREENED = "photograph", "halftone", "restored", "scan", "new screen"
NETWORK = "network"
FAST, AS_TRAINED, BEST = "fast: none, error diffusion", "as trained", "best: ten times as long"

Tell = Callable[[float, str], None]
"""Told how far the work is, 0 to 1, and what it does now."""


class Shown(NamedTuple):
    """A result: pictures of one `size` (H, W) as files by name, the pairs worth comparing, figures and a remark."""

    size: tuple[int, int]
    pictures: dict[str, Path]
    pairs: list[tuple[str, str]]
    figures: dict[str, str]
    downloads: dict[str, Path]
    remark: str = ""


class Tools:
    """The tools behind the page.

    codec       the network that dithers and restores
    scratch     where results are written
    max_pixels  larger pictures are refused
    Every method takes the path of the file, options, and `tell`; it raises UserError in one line that begins with the
    file's name.
    """

    def __init__(self, codec: ResHalfCodec, scratch: Scratch, max_pixels: int):
        self.codec, self.scratch, self.max_pixels = codec, scratch, max_pixels
        self.searches = _searches(codec)
        self.descreeners: dict[str, Restorer | None] = dict.fromkeys(("bilateral", *BASELINES))  # best first
        if DESCREENER.exists():
            self.descreeners = {NETWORK: load_trained(DESCREENER, str(codec.device)).restore, **self.descreeners}

    def dither(self, path: str | Path, search: str = AS_TRAINED, tell: Tell = lambda share, doing: None) -> Shown:
        """Halftone a photograph in one of `searches` and restore it from the halftone's bits alone."""
        with _naming_the_file(path):
            tell(0.0, "Reading the photograph")
            photo = read_image(path, max_pixels=self.max_pixels)
            start = time.perf_counter()
            tell(0.1, "Dithering")
            halftone = self.searches[search].halftone(photo.bgr)
            tell(0.3, "Restoring the colours")
            restored = self.codec.restore(halftone)
            seconds = time.perf_counter() - start
            tell(0.9, "Measuring and writing")
            kept = self._keep(path, {PHOTO: photo.bgr, HALFTONE: halftone, RESTORED: restored}, photo.alpha)
            figures = {"restored, PSNR": f"{scores.psnr(photo.bgr, restored):.2f} dB"}
            if min(halftone.shape) >= scores.SIZE:
                figures["restored, SSIM"] = f"{scores.ssim(photo.bgr, restored):.3f}"
                figures["halftone, tone (σ 1.5)"] = f"{scores.tone_psnr(halftone, photo.bgr):.2f} dB"
        figures["halftone, 1 bit a pixel"] = _bytes(kept[HALFTONE].stat().st_size)
        pairs = [(HALFTONE, RESTORED), (PHOTO, RESTORED), (PHOTO, HALFTONE)]
        return _shown(photo.bgr, kept, pairs, figures | {"time": f"{seconds:.2f} s"}, (HALFTONE, RESTORED))

    def restore(self, path: str | Path, force: bool = False, tell: Tell = lambda share, doing: None) -> Shown:
        """Restore the colours of a halftone; a picture that is none is refused unless `force`."""
        with _naming_the_file(path):
            tell(0.0, "Reading the halftone")
            halftone = read_halftone(path, force, max_pixels=self.max_pixels)
            start = time.perf_counter()
            tell(0.2, "Restoring the colours")
            restored = self.codec.restore(halftone)
            seconds = time.perf_counter() - start
            tell(0.9, "Writing")
            kept = self._keep(path, {HALFTONE: halftone, RESTORED: restored})
        figures = {"black pixels": f"{np.mean(halftone == 0):.0%}", "time": f"{seconds:.2f} s"}
        return _shown(halftone, kept, [(HALFTONE, RESTORED)], figures, (RESTORED,))

    def descreen(
        self,
        path: str | Path,
        method: str,
        strength: float = 1.0,
        pitch: float | None = None,
        dot: str = "round",
        tell: Tell = lambda share, doing: None,
    ) -> Shown:
        """Take the screen out of a scan and put a new one in, with `pitch` in pixels at the trade's angles; None takes
        the scan's own pitch and angles."""
        with _naming_the_file(path):
            tell(0.0, "Reading the scan")
            scan = read_image(path, max_pixels=self.max_pixels)
            start = time.perf_counter()
            tell(0.1, "Looking for the screen")
            screens = find_screens(scan.bgr)
            tell(0.2, "Taking it out")
            restored = (self.descreeners[method] or baseline_restorer(method, strength, "gaussian"))(scan.bgr, screens)
            tell(0.6, "Screening anew")
            screened = screen_again(restored, screens, pitch, None if pitch is None else TRADE_ANGLES, dot)
            seconds = time.perf_counter() - start
            tell(0.9, "Writing")
            kept = self._keep(path, {SCAN: scan.bgr, RESTORED: restored, SCREENED: screened}, scan.alpha)
        pairs = [(SCAN, RESTORED), (SCAN, SCREENED), (RESTORED, SCREENED)]
        remark = f"Screen found: {describe(screens)}."
        return _shown(scan.bgr, kept, pairs, {"time": f"{seconds:.2f} s"}, (RESTORED, SCREENED), remark)

    def classical(
        self, path: str | Path, method: str, linear: bool = False, tell: Tell = lambda share, doing: None
    ) -> Shown:
        """Halftone the gray of a photograph with a method of halftone.METHODS; `linear` halftones its light."""
        with _naming_the_file(path):
            tell(0.0, "Reading the photograph")
            photo = read_image(path, max_pixels=self.max_pixels).bgr
            gray = cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY)
            start = time.perf_counter()
            tell(0.2, "Dithering")
            halftone = METHODS[method](luminance(photo) if linear else gray)
            seconds = time.perf_counter() - start
            tell(0.8, "Measuring and writing")
            kept = self._keep(path, {"gray": cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), HALFTONE: halftone})
            figures = {}
            if min(gray.shape) >= scores.SIZE and not linear:
                figures["tone (σ 1.5)"] = f"{scores.tone_psnr(halftone, photo):.2f} dB"
        figures |= {"1 bit a pixel": _bytes(kept[HALFTONE].stat().st_size), "time": f"{seconds:.3f} s"}
        return _shown(gray, kept, [("gray", HALFTONE)], figures, (HALFTONE,), f"Source: {METHODS[method].source}.")

    def _keep(self, path: str | Path, pictures: dict[str, np.ndarray], alpha: np.ndarray | None = None) -> dict:
        """Write pictures as NAME_picture.png, halftones with one bit a pixel; their paths by name."""
        folder, kept = self.scratch.new(), {}
        for name, picture in pictures.items():
            kept[name] = folder / f"{Path(path).stem[:80]}_{name.replace(' ', '_')}.png"
            if picture.ndim == 2:
                write_halftone(kept[name], picture)
            else:
                write_image(kept[name], picture, alpha)
        return kept


def _shown(picture, kept, pairs, figures, downloads, remark="") -> Shown:
    return Shown(picture.shape[:2], kept, pairs, figures, {name: kept[name] for name in downloads}, remark)


def _searches(codec: ResHalfCodec) -> dict[str, ResHalfCodec]:
    """The ways to a halftone that this network knows, by what the page calls them."""
    searches = {}
    for name, choices in {FAST: {"fast": True}, AS_TRAINED: None, BEST: {"best": True}}.items():
        with suppress(UserError):  # its halftones are not searched, or its decoder cannot be asked
            known = (
                codec if choices is None else ResHalfCodec(codec.network, str(codec.device), tile=codec.tile, **choices)
            )
            searches[name] = known
    return searches


@contextmanager
def _naming_the_file(path: str | Path) -> Iterator[None]:
    """Say in one line what a file lacks, by its name without the folder it was uploaded to."""
    try:
        with name_errors(path):
            yield
    except UserError as error:
        raise UserError(str(error).replace(str(path), Path(path).name)) from None


def _bytes(count: int) -> str:
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1e6:.1f} MB"
