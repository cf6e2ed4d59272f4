"""Pages of paper: how many sheets a picture needs, and a sheet drawn in printer dots with its caption."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from images.pixels import black_and_white
from images.resolution import INCH
from model.pilot import PERIOD
from reshalf.sheet.header import LARGEST, MAX_SIDE, Header, pack_header, picture_number
from reshalf.sheet.layout import MIN_HEIGHT, MIN_WIDTH, Layout
from utils.errors import UserError
from utils.files import atomic_write

PAPERS = {"a4": (210.0, 297.0), "letter": (215.9, 279.4)}
"""Width and height in millimetres (ISO 216; ANSI/ASME Y14.1)."""
MARGIN = 10.0
"""Millimetres that stay white on each side; printers leave up to about 6 mm unprinted."""
TEXT, LINE = 2.6, 3.6
"""Height of the caption's letters and distance of its lines, in millimetres."""
CAPTION = 17.0
"""Millimetres below the lower markers for four lines."""
MAX_SHEETS = 64
"""Of a picture; all its pages are in memory, 35 MB each at 600 dpi."""
MAX_CELL = 64
_FONT = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
_MILLIMETRE = INCH * 1000


@dataclass(frozen=True)
class PageFormat:
    """A page: name of the paper, dots per inch, dots along a cell's side, and whether it is turned to landscape."""

    paper: str
    dpi: int
    cell: int
    landscape: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in dots."""
        width, height = (round(side / _MILLIMETRE * self.dpi) for side in PAPERS[self.paper])
        return (height, width) if self.landscape else (width, height)

    def dots(self, millimetres: float) -> int:
        """A length in dots."""
        return round(millimetres / _MILLIMETRE * self.dpi)

    @property
    def capacity(self) -> tuple[int, int]:
        """Width and height in pixels of the largest picture on a sheet, multiples of the pilot's period.

        0 where not even a small picture fits.
        """
        least = Layout(1, 1)
        top, left, bottom, right = least.frame
        around = right - left - MIN_WIDTH, bottom - top - MIN_HEIGHT
        caption = (0, self.dots(CAPTION))
        free = (
            (side - 2 * self.dots(MARGIN) - text) // self.cell - other
            for side, text, other in zip(self.size, caption, around, strict=True)
        )
        width, height = (min(side, LARGEST) // PERIOD * PERIOD for side in free)
        return (width, height) if width >= MIN_WIDTH and height >= MIN_HEIGHT else (0, 0)

    def check(self) -> None:
        """Raise UserError where no sheet fits on the page."""
        if not self.capacity[0]:
            raise UserError(f"--cell {self.cell}: too large for {self.paper} at {self.dpi} dpi")


@dataclass(frozen=True)
class Split:
    """Division of a picture of width × height pixels among rows × columns sheets of a format."""

    page: PageFormat
    width: int
    height: int
    rows: int
    columns: int

    def parts(self) -> Iterator[tuple[int, int, slice, slice]]:
        """Row and column of each sheet, and its rows and columns of pixels, which begin at the pilot's period."""
        height, width = (
            -(-side // (count * PERIOD)) * PERIOD
            for side, count in ((self.height, self.rows), (self.width, self.columns))
        )
        for row in range(self.rows):
            for column in range(self.columns):
                rows = slice(row * height, min((row + 1) * height, self.height))
                yield row, column, rows, slice(column * width, min((column + 1) * width, self.width))


def split_picture(width: int, height: int, paper: str, dpi: int, cell: int) -> Split:
    """The division, in portrait or landscape, that needs the fewest sheets.

    Raises ValueError above MAX_SHEETS, and for sides above MAX_SIDE.
    """
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width} × {height} pixels, allowed on sheets: {MAX_SIDE} a side")
    splits = []
    for landscape in (False, True):
        page = PageFormat(paper, dpi, cell, landscape)
        if not page.capacity[0]:
            continue
        columns, rows = (-(-side // most) for side, most in zip((width, height), page.capacity, strict=True))
        # The parts have one size, a multiple of the period, so the last of many sheets could stay empty.
        columns, rows = (
            -(-side // (-(-side // (n * PERIOD)) * PERIOD)) for side, n in ((width, columns), (height, rows))
        )
        splits.append(Split(page, width, height, rows, columns))
    best = min(splits, key=lambda split: split.rows * split.columns)
    if best.rows * best.columns > MAX_SHEETS:
        raise ValueError(f"needs {best.rows * best.columns} sheets, allowed: {MAX_SHEETS}; --one_sheet shrinks it")
    return best


def draw_pages(halftone: np.ndarray, split: Split, name: str) -> Iterator[np.ndarray]:
    """The sheets of a halftone (H, W) uint8 in {0, 255}, row by row: pages in dots, (H, W) uint8 in {0, 255}.

    name  of the picture, for the caption
    """
    picture, page = picture_number(halftone), split.page
    for row, column, rows, columns in split.parts():
        part = halftone[rows, columns]
        header = Header(row, column, split.rows, split.columns, picture, page.cell, page.dpi, split.width, split.height)
        frame = Layout(part.shape[1], part.shape[0]).cells(part, pack_header(header))
        yield _draw_page(frame.repeat(page.cell, 0).repeat(page.cell, 1), _caption(header, page, name), page)


def _caption(header: Header, page: PageFormat, name: str) -> list[str]:
    sheet = f"Sheet {header.number} of {header.count} of" if header.count > 1 else "Picture"
    return [
        f"{sheet} “{name}”, {header.width} × {header.height} pixels, {page.cell} dots a pixel at {page.dpi} dpi",
        "This black-and-white print carries a colour photograph. To get its colours back, scan this page at",
        f"{page.dpi} dpi, or photograph it from straight above in even light, and give the file to ResHalf:",
        "python -m reshalf.sheet read --data_dir SCANS --save_dir BACK",
    ]


def _draw_page(frame: np.ndarray, caption: Sequence[str], page: PageFormat) -> np.ndarray:
    """The frame, in dots, on a white page, centred from left to right, with its caption below."""
    width, height = page.size
    canvas = np.full((height, width), 255, np.uint8)
    top, left = page.dots(MARGIN), (width - frame.shape[1]) // 2
    canvas[top : top + frame.shape[0], left : left + frame.shape[1]] = frame
    below = top + frame.shape[0] + page.dots(LINE) // 2
    image = Image.fromarray(canvas[below:])
    draw, font = ImageDraw.Draw(image), ImageFont.truetype(str(_FONT), page.dots(TEXT) * 4 // 3)
    for number, line in enumerate(caption):
        while draw.textlength(line, font) > width - 2 * page.dots(MARGIN) and len(line) > 8:
            line = f"{line[: len(line) // 2 - 2]}…{line[len(line) // 2 + 1 :]}"
        draw.text((page.dots(MARGIN), number * page.dots(LINE)), line, 0, font)
    canvas[below:] = black_and_white(np.asarray(image))
    return canvas


def write_pdf(path: str | Path, pages: Sequence[np.ndarray], dpi: int) -> None:
    """Write pages (H, W) bool, True for white, as a PDF of their exact size at `dpi`, losslessly compressed.

    The file is written atomically. Raises UserError when it cannot be written.
    """
    first, *more = (Image.fromarray(page) for page in pages)
    buffer = io.BytesIO()
    first.save(buffer, "PDF", resolution=dpi, save_all=True, append_images=more, title=Path(path).stem)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(buffer.getvalue())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


def shrink_to_sheet(bgr: np.ndarray, paper: str, dpi: int, cell: int) -> np.ndarray:
    """A photograph (H, W, 3) reduced, where it is too large, to fit on one sheet in portrait or landscape."""
    height, width = bgr.shape[:2]
    scale = max(
        min(
            most / side
            for side, most in zip((width, height), PageFormat(paper, dpi, cell, turned).capacity, strict=True)
        )
        for turned in (False, True)
    )
    if scale >= 1:
        return bgr
    size = max(int(width * scale), 1), max(int(height * scale), 1)
    return cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
