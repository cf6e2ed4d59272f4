"""The job of `sheet read`: scans or photographs of sheets → halftones and restored photographs."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from images.files import write_halftone, write_image
from images.pixels import black_and_white
from images.resolution import Resolution
from jobs.job import Job, Loaded, Outputs
from jobs.manifest import FileResult
from jobs.tasks import HALFTONES, RESTORED, Task
from model.pilot import detect_pilot
from reshalf.codec import ResHalfCodec
from reshalf.sheet.header import Header
from reshalf.sheet.make_job import sheet_name
from reshalf.sheet.page import PageFormat, Split
from reshalf.sheet.reading import CORNER_NAMES, Sheet, describe_sheet, read_sheets
from utils.command import warn
from utils.errors import UserError, name_errors, printable
from utils.files import make_parent

NO_PILOT = "carries no pilot: printed from a halftone of another program, or too many errors; colours may be wrong"
UNSURE, MANY_UNSURE = 13, 0.003
"""Distance from 0 and 255 from which on a level is doubtful, and the share of such cells above which their levels are
used; fewer hardly change the restoration (docs/sheet.md)."""


@dataclass(kw_only=True)
class ReadJob(Job):
    """Writes OUT/halftone/NAME.png and OUT/restored/NAME.png, and NAME_sheet2.png for a second sheet in a scan.

    lost   lines about sheets that were seen but not read, beside others that were
    parts  of pictures on several sheets, by picture and place: the name of the scan, and the levels of its cells
    """

    codec: ResHalfCodec
    lost: list[str] = field(default_factory=list)
    parts: dict[Header, dict[tuple[int, int], tuple[Path, np.ndarray]]] = field(default_factory=dict)

    def convert(self, image: np.ndarray) -> tuple[Outputs, str]:
        """Not used: `compute` and `write` handle several sheets in one scan."""
        raise NotImplementedError

    def is_finished(self, task: Task, checksum: str) -> bool:
        """As `Job.is_finished`, but parts of larger pictures are read again, since all are needed to join them."""
        result = self.manifest.result(task.key)
        is_part = result is not None and result.scores is not None and result.scores["sheets"] > 1
        return not is_part and super().is_finished(task, checksum)

    def compute(self, task: Task, loaded: Loaded) -> tuple[Loaded, list, FileResult]:
        """The sheets with their restorations. Raises UserError for a scan without a readable sheet."""
        start = time.perf_counter()
        with name_errors(task.path):
            reading = read_sheets(loaded.image)
            if not reading.sheets:
                raise UserError(f"{task.path}: {'; '.join(reading.failures)}")
            results = [(sheet, restore(self.codec, sheet.cells.levels)) for sheet in reading.sheets]
        self.lost += [f"{task.path}: another sheet in it: {failure}" for failure in reading.failures]
        for sheet in reading.sheets:
            warn(task.path, _remarks(sheet, self.codec.has_pilot))
        notes = [describe_sheet(sheet) for sheet in reading.sheets]
        note = "; ".join(filter(None, (*loaded.remarks, *notes)))
        scores = {
            "doubtful": max(sheet.cells.doubtful for sheet in reading.sheets),
            "flips": max(sheet.cells.flips for sheet in reading.sheets),
            "pilot": min(sheet.pilot for sheet in reading.sheets),
            "sheets": float(max(sheet.cells.header.count for sheet in reading.sheets)),
        }
        return loaded, results, FileResult(loaded.image.shape[:2], time.perf_counter() - start, scores, note)

    def write(self, task: Task, computed: tuple[Loaded, list, FileResult]) -> FileResult:
        """Write all sheets of a scan. Raises UserError when they cannot be written."""
        loaded, results, result = computed
        paths: list[Path] = []
        for number, (sheet, restored) in enumerate(results, 1):
            header, halftone, name = sheet.cells.header, sheet.cells.halftone, sheet_name(task.name, number)
            paths += self._write_picture(name, halftone, restored, _resolution(header))
            if header.count > 1:
                key = header._replace(row=0, column=0)
                self.parts.setdefault(key, {})[header.row, header.column] = task.name, sheet.cells.levels
        self.manifest.add(task.key, loaded.checksum, paths, result)
        return result

    def _write_picture(
        self, name: Path, halftone: np.ndarray, restored: np.ndarray, resolution: Resolution
    ) -> list[Path]:
        paths = [make_parent(self.manifest.folder / folder / name) for folder in (HALFTONES, RESTORED)]
        write_halftone(paths[0], halftone, resolution)
        write_image(paths[1], restored, None, resolution)
        return paths

    def join(self) -> int:
        """Write the pictures whose sheets have all been read, as NAME_joined.png; returns how many lack a sheet."""
        incomplete = 0
        for header, parts in self.parts.items():
            name = next(iter(parts.values()))[0]
            missing = [
                str(number) for number in range(1, header.count + 1) if divmod(number - 1, header.columns) not in parts
            ]
            if missing:
                incomplete += 1
                line = f"{name.stem}: not joined: sheet {', '.join(missing)} of {header.count} is missing"
                print(printable(line), file=sys.stderr)
                continue
            levels = np.empty((header.height, header.width), np.uint8)
            split = Split(PageFormat("a4", header.dpi, header.cell), *header[-2:], header.rows, header.columns)
            for row, column, rows, columns in split.parts():
                levels[rows, columns] = parts[row, column][1]
            joined = name.with_stem(f"{name.stem}_joined")
            halftone = black_and_white(levels)
            self._write_picture(joined, halftone, restore(self.codec, levels), _resolution(header))
            print(f"{joined.stem}: {header.count} sheets joined, {header.width} × {header.height}")
        return incomplete

    @property
    def heading(self) -> str:
        """Headings of what the reader is sure of."""
        return f"{'doubtful':>10}{'flips':>9}{'pilot':>9}"

    def columns(self, result: FileResult) -> str:
        """Share of doubtful pixels, estimated share of flipped ones, strength of the pilot, and the note."""
        if not result.scores:
            return ""
        return "{doubtful:10.2%}{flips:9.3%}{pilot:7.1f} σ  ".format(**result.scores) + (result.note or "")


def restore(codec: ResHalfCodec, levels: np.ndarray) -> np.ndarray:
    """Restore a photograph from the levels of a sheet's cells; as uncertain ones where many are doubtful."""
    if np.mean((levels > UNSURE) & (levels < 255 - UNSURE)) > MANY_UNSURE:
        return codec.restore_uncertain(levels)
    return codec.restore(black_and_white(levels))


def _resolution(header: Header) -> Resolution:
    return header.dpi / header.cell, header.dpi / header.cell


def _remarks(sheet: Sheet, has_pilot: bool) -> list[str]:
    remarks = [
        f"the marker {name} was not found" for corner, name in enumerate(CORNER_NAMES) if corner not in sheet.corners
    ]
    found = detect_pilot(sheet.cells.halftone)
    if has_pilot and found.expected and not found.present:
        remarks.append(NO_PILOT)
    return remarks
