"""The job of `sheet make`: photographs or halftones → pages to print."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from images.files import read_image, write_halftone
from images.overview import middle
from images.resolution import INCH
from jobs.job import Job, Loaded, Outputs
from jobs.manifest import FileResult
from jobs.tasks import HALFTONES, Task
from model.pilot import detect_pilot
from reshalf.codec import ResHalfCodec
from reshalf.repair import read_repaired
from reshalf.sheet.page import Split, draw_pages, shrink_to_sheet, split_picture, write_pdf
from utils.errors import UserError, name_errors
from utils.files import make_parent

PDF, PNG = "pdf", "png"
AUTO, PHOTOGRAPHS = "auto", "photographs"
INPUTS = (AUTO, PHOTOGRAPHS, "halftones")


def sheet_name(name: Path, number: int) -> Path:
    """The name of the sheet `number`, from 1, of several that belong to one file."""
    return name if number == 1 else name.with_stem(f"{name.stem}_sheet{number}")


@dataclass(kw_only=True)
class MakeJob(Job):
    """Writes OUT/pdf/NAME.pdf with a page for every sheet, and OUT/png/NAME.png, NAME_sheet2.png, ….

    kind       of the inputs, one of INPUTS; AUTO: a black-and-white image is a halftone if it carries the pilot, or if
               halftones do not carry one
    paper, dpi, cell  of the pages
    one_sheet  shrink photographs that need several sheets
    """

    heading = "  sheets"
    codec: ResHalfCodec
    kind: str
    paper: str
    dpi: int
    cell: int
    one_sheet: bool

    def load(self, path: Path) -> Loaded:
        """A photograph, or a halftone (H, W). Raises UserError for a bad file."""
        halftone = None if self.kind == PHOTOGRAPHS else self._load_halftone(path)
        return halftone or super().load(path)

    def _load_halftone(self, path: Path) -> Loaded | None:
        try:
            read = read_repaired(path, self.codec.has_pilot, max_pixels=self.max_pixels)
        except UserError:
            if self.kind != AUTO:
                raise
            return None  # a photograph; or no image, which its reader reports
        if self.kind == AUTO and self.codec.has_pilot:
            found = detect_pilot(read.halftone)
            if found.expected and not found.present:
                return None
        return Loaded(read.halftone, None, read.resolution, read.remarks)

    def convert(self, image: np.ndarray) -> tuple[Outputs, str]:
        """The halftone to print, and how many sheets it needs."""
        if image.ndim == 3:
            if self.one_sheet:
                image = shrink_to_sheet(image, self.paper, self.dpi, self.cell)
            image = self.codec.halftone(image)
        split = self._split(image)
        size = " × ".join(f"{side * self.cell / self.dpi * INCH * 100:.1f}" for side in (split.width, split.height))
        return {HALFTONES: image}, f"{split.rows * split.columns} of {self.paper}, picture {size} cm"

    def _split(self, halftone: np.ndarray) -> Split:
        return split_picture(halftone.shape[1], halftone.shape[0], self.paper, self.dpi, self.cell)

    def compute(self, task: Task, loaded: Loaded) -> tuple[Loaded, Outputs, FileResult]:
        """The halftone. Raises UserError for a picture that needs too many sheets, and as `Job.compute` does."""
        try:
            return super().compute(task, loaded)
        except ValueError as error:
            raise UserError(f"{task.path}: {error}") from None

    def write(self, task: Task, computed: tuple[Loaded, Outputs, FileResult]) -> FileResult:
        """Draw and write the pages. Raises UserError when they cannot be written."""
        loaded, outputs, result = computed
        halftone, paths, pages = outputs[HALFTONES], [], []
        with name_errors(task.path):
            for number, page in enumerate(draw_pages(halftone, self._split(halftone), task.path.name), 1):
                paths.append(
                    make_parent(self.manifest.folder / PNG / sheet_name(task.name.with_suffix(".png"), number))
                )
                write_halftone(paths[-1], page, (self.dpi, self.dpi))
                pages.append(page > 127)
            paths.append(make_parent(self._path(PDF, task)))
            write_pdf(paths[-1], pages, self.dpi)
        self.manifest.add(task.key, loaded.checksum, paths, result)
        return result

    def columns(self, result: FileResult) -> str:
        """Number of sheets and size of the picture."""
        return f"  {result.note or ''}"

    def overview_row(self, task: Task) -> list[np.ndarray]:
        """The middle of the input, and of its first page."""
        return [middle(self.load(task.path).image), middle(read_image(self._path(PNG, task)).bgr)]
