"""The job of descreen.restore and descreen.rescreen: scans to restored and, on request, newly screened images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from descreen.engine import Restorer
from descreen.screen_finder import Screen, find_screens, shrink_for
from jobs.job import Job, Outputs
from jobs.manifest import FileResult
from jobs.tasks import RESTORED

SCREENED = "screened"

Rescreen = Callable[[np.ndarray, dict[str, Screen]], np.ndarray]


@dataclass(kw_only=True)
class ScanJob(Job):
    """Writes OUT/restored/NAME.png and, with `rescreen`, OUT/screened/NAME.png.

    restore   function of a scan and its screens
    rescreen  function of the restored scan and the same screens
    """

    heading = "  screen found"
    restore: Restorer
    rescreen: Rescreen | None

    def convert(self, image: np.ndarray) -> tuple[Outputs, str]:
        """The restored scan, the new screen, and the screens found, as a note."""
        screens = find_screens(image)
        outputs = {RESTORED: self.restore(image, screens)}
        if self.rescreen:
            outputs[SCREENED] = self.rescreen(outputs[RESTORED], screens)
        return outputs, describe(screens)

    def columns(self, result: FileResult) -> str:
        """The screens found."""
        return f"  {result.note or ''}"


def describe(screens: dict[str, Screen]) -> str:
    """One line: pitch and angle of each ink, and the size at which the scan is restored if it is reduced."""
    inks = [
        f"{ink} {screen.pitch:.2f} px {screen.angle:.1f}°{' lines' if screen.is_line else ''}"
        for ink, screen in screens.items()
    ]
    size = {1: [], 2: ["restored at half size"], 4: ["restored at quarter size"]}[shrink_for(screens)]
    return ", ".join(inks + size) or "no regular screen"
