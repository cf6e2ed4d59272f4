"""The job of descreen.restore and descreen.rescreen: scans to restored and, on request, newly screened images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from descreen.engine import Finder, Restorer
from descreen.inks import describe_belief
from descreen.regions import Region
from descreen.screen_finder import shrink_for
from jobs.job import Job, Outputs
from jobs.manifest import FileResult
from jobs.tasks import RESTORED

SCREENED = "screened"

Rescreen = Callable[[np.ndarray, list[Region]], np.ndarray]


@dataclass(kw_only=True)
class ScanJob(Job):
    """Writes OUT/restored/NAME.png and, with `rescreen`, OUT/screened/NAME.png.

    find      function of a scan: its screened regions
    restore   function of a scan and these regions
    rescreen  function of the restored scan and the same regions
    """

    heading = "  screen found"
    find: Finder
    restore: Restorer
    rescreen: Rescreen | None

    def convert(self, image: np.ndarray) -> tuple[Outputs, str]:
        """The restored scan, the new screen, and the screens found, as a note."""
        regions = self.find(image)
        outputs = {RESTORED: self.restore(image, regions)}
        if self.rescreen:
            outputs[SCREENED] = self.rescreen(outputs[RESTORED], regions)
        return outputs, describe(regions, image.shape)

    def columns(self, result: FileResult) -> str:
        """The screens found."""
        return f"  {result.note or ''}"


def describe(regions: list[Region], shape: tuple[int, ...]) -> str:
    """One line: where the screens of a scan of `shape` are, with pitch and angle of each ink and the kind of inks."""
    if not regions:
        return "no screen: unchanged"
    if len(regions) == 1 and regions[0].covers(shape):
        return _screens(regions[0])
    parts = []
    for region in regions:
        (height, width), (top, left) = region.mask.shape, (part.start for part in region.box)
        parts.append(f"{width} x {height} at ({left}, {top}): {_screens(region)}")
    return "; ".join(parts)


def _screens(region: Region) -> str:
    screens = region.screens
    inks = [
        f"{ink} {screen.pitch:.2f} px {screen.angle:.1f}°{' lines' if screen.is_line else ''}"
        for ink, screen in screens.items()
    ]
    size = {1: [], 2: ["restored at half size"], 4: ["restored at quarter size"]}[shrink_for(screens)]
    kind = [] if region.belief is None else [describe_belief(region.belief)]
    return ", ".join((inks or ["no regular screen"]) + size + kind)
