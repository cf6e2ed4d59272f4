"""Simulated scans of printed pages: text, rules, tables and line art beside screened pictures."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from descreen.config import ScreensConfig
from descreen.printing import digitize, draw_printing, ground_truth, print_and_scan

FONTS = ("DejaVuSerif.ttf", "DejaVuSans.ttf", "DejaVuSansMono.ttf", "STIXGeneral.ttf", "cmr10.ttf")
FONT_SIZES = (12, 14, 17, 21, 28, 42)
"""Pixels; 12 pixels are 3 points at 300 dpi and 6 points at 150 dpi."""
PARAGRAPH = (
    "The screen of a printed picture is a grid of dots whose size follows the tone. Letters, rules and drawings are "
    "printed without one: solid ink on paper, edge beside edge, and a page has both. "
)
MARGIN, GAP = 32, 28
"""Pixels: around the page, and between its cells."""
UNSCANNED = {
    "clean": False,
    "blur": 0.0,
    "grain": 0.0,
    "unsharp": None,
    "threshold": None,
    "jpeg": None,
    "paper": (1.0, 1.0, 1.0),
}
"""Parameters of a print before it is scanned; the page is scanned as a whole."""


class Page(NamedTuple):
    """A simulated scan of a page."""

    scan: np.ndarray  # (H, W, 3) BGR uint8
    truth: np.ndarray  # the page before screening and scanning, same shape
    pictures: list[tuple[slice, slice]]  # rows and columns of each screened picture


def draw_page(
    photos: list[np.ndarray],
    size: tuple[int, int],
    screens: ScreensConfig,
    random: np.random.Generator,
    blur: float = 0.5,
    grain: float = 1.5,
    jpeg: int | None = 85,
) -> Page:
    """A page of `size` (H, W) pixels in two columns: the photographs, each with a screen of its own, text and line art.

    photos   (h, w, 3) BGR uint8, resized to the column's width; those that do not fit are left out
    screens  ranges of the screens; those of the scanner are not used
    blur, grain, jpeg  of the scanner, as of `Printing`
    """
    height, width = size
    truth, pictures = np.full((height, width, 3), 255, np.uint8), []
    page = truth.copy()
    column = (width - 2 * MARGIN - GAP) // 2
    waiting = list(photos)
    for number, left in enumerate((MARGIN, MARGIN + column + GAP)):
        top, kind = MARGIN, number
        while height - MARGIN - top > 96:
            room = height - MARGIN - top
            if waiting and kind % 2 == 0:
                photo = waiting.pop(0)
                tall = min(round(photo.shape[0] * column / photo.shape[1]), room)
                cell = (slice(top, top + tall), slice(left, left + column))
                photo = cv2.resize(photo, (column, tall), interpolation=cv2.INTER_AREA)
                printing = replace(draw_printing(screens, random), **UNSCANNED)
                truth[cell], page[cell] = ground_truth(photo, printing), print_and_scan(photo, printing)
                pictures.append(cell)
            else:
                tall = min(int(random.integers(160, 320)), room)
                cell = (slice(top, top + tall), slice(left, left + column))
                draw = (_text, _text, _table, _line_art)[random.integers(4)]
                truth[cell] = page[cell] = draw(tall, column, random)
            top, kind = top + tall + GAP, kind + 1
    seen = cv2.GaussianBlur(page, (0, 0), blur) if blur else page
    scan = digitize(seen.astype(np.float32), random, grain=grain, jpeg=jpeg)
    return Page(scan, truth, pictures)


def _font(random: np.random.Generator, size: int) -> ImageFont.FreeTypeFont:
    name = FONTS[random.integers(len(FONTS))]
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf", name)), size)


def _text(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """A paragraph in a random font and size, in black or in a colour."""
    size = int(random.choice(FONT_SIZES))
    font, canvas = _font(random, size), Image.new("RGB", (width, height), "white")
    ink = "black" if random.random() < 0.8 else tuple(random.integers(0, 140, 3).tolist())
    drawing, words, line, top = ImageDraw.Draw(canvas), (PARAGRAPH * 40).split(), "", 0
    for word in words:
        if drawing.textlength(f"{line} {word}", font) > width:
            drawing.text((0, top), line, ink, font)
            line, top = word, top + round(1.25 * size)
            if top + size > height:
                break
        else:
            line = f"{line} {word}".strip()
    return np.array(canvas)[..., ::-1]


def _table(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Numbers between rules."""
    size = int(random.choice(FONT_SIZES[:4]))
    font, canvas = _font(random, size), Image.new("RGB", (width, height), "white")
    drawing, row, column = ImageDraw.Draw(canvas), round(1.6 * size), max(width // 4, 5 * size)
    for top in range(0, height - row, row):
        drawing.line((0, top, width, top), "black", int(random.integers(1, 3)))
        for left in range(0, width - column + 1, column):
            drawing.text((left + 4, top + 2), str(random.integers(10**4)), "black", font)
    for left in range(0, width, column):
        drawing.line((left, 0, left, height), "black", 1)
    return np.array(canvas)[..., ::-1]


def _line_art(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Circles, and bands hatched with parallel lines of several distances and angles."""
    canvas = np.full((height, width, 3), 255, np.uint8)
    for _ in range(6):
        centre = tuple(random.integers(0, (width, height)).tolist())
        cv2.circle(canvas, centre, int(random.integers(10, 90)), 0, int(random.integers(1, 4)), cv2.LINE_AA)
    side = min(height, width) // 3
    for left in range(0, width - side, side + 12):
        patch, step, angle = np.full((side, side, 3), 255, np.uint8), random.uniform(4, 12), random.uniform(0, np.pi)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        for offset in np.arange(-side, side, step):
            ends = [side / 2 + offset * across + sign * 2 * side * along for sign in (-1, 1)]
            cv2.line(patch, *(tuple(np.rint(end).astype(int).tolist()) for end in ends), (0, 0, 0), 1, cv2.LINE_AA)
        canvas[-side:, left : left + side] = patch
    return canvas
