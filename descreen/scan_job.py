"""A folder of scans in, restored pictures and, if asked for, newly screened ones out: for utils/folder_run.py."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descreen.engine import Restorer
from descreen.screen_finder import Screen, find_screens, shrink_for
from images.files import write_image
from jobs.tasks import Task, with_folder
from reshalf.folder_job import RESTORED, Done, FolderJob, Pictures

SCREENED = "screened"

Rescreen = Callable[[np.ndarray, dict[str, Screen]], np.ndarray]


@dataclass
class ScanJob(FolderJob):
    """`engine` is called with a scan and its screens; `rescreen` with what it returned and the same screens.

    OUT gets restored/NAME.png and, with `rescreen`, screened/NAME.png.
    """

    engine: Restorer
    rescreen: Rescreen | None = None

    def make(self, pictures: Pictures) -> Pictures:
        """What is restored from the scan and the new screen; the note says which screen was found."""
        screens = find_screens(pictures.photo)
        restored = self.engine(pictures.photo, screens)
        screened = self.rescreen(restored, screens) if self.rescreen else None
        return pictures._replace(restored=restored, halftone=screened, note=describe(screens))

    def write(self, task: Task, pictures: Pictures) -> Done:
        """As of every folder; the overview has scan, restoration and, last, the new screen."""
        done = super().write(task, pictures)
        scan, *screened, restored = done.pictures
        return done._replace(pictures=[scan, restored, *screened])

    def save(self, task: Task, pictures: Pictures) -> list[Path]:
        """Write the outputs; their paths."""
        outputs = [self.out / RESTORED / task.name]
        write_image(with_folder(outputs[0]), pictures.restored, pictures.alpha)
        if pictures.halftone is not None:
            outputs.append(self.out / SCREENED / task.name)
            write_image(with_folder(outputs[1]), pictures.halftone, pictures.alpha)
        return outputs

    def scores(self, pictures: Pictures) -> None:
        """None: of a scan, the truth is not known."""
        return None


def describe(screens: dict[str, Screen]) -> str:
    """One line: each ink's pitch and angle, and at which size the scan is restored where that is not its own."""
    inks = [
        f"{ink} {screen.pitch:.2f} px {screen.angle:.1f}°{' lines' if screen.is_line else ''}"
        for ink, screen in screens.items()
    ]
    size = {1: [], 2: ["restored at half size"], 4: ["restored at quarter size"]}[shrink_for(screens)]
    return ", ".join(inks + size) or "no regular screen"
