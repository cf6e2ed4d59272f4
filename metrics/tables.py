"""Tables of measurements, nested dicts {section: {row: {column: number}}}: mean, text and CSV.

A missing number is NaN and is written as a dash or an empty cell; infinity is written as "inf".
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from utils.files import atomic_write

Sections = dict[str, dict[str, dict[str, float]]]


def mean_of(images: Sequence[Sections]) -> Sections:
    """Mean over the images of every number; NaN when one of them is NaN, so that all rows cover the same images."""
    return {
        section: {
            row: {column: sum(image[section][row][column] for image in images) / len(images) for column in columns}
            for row, columns in rows.items()
        }
        for section, rows in images[0].items()
    }


def flatten_sections(sections: Sections) -> dict[str, float]:
    """{"section/row/column": number}, in order."""
    return {
        f"{section}/{row}/{column}": number
        for section, rows in sections.items()
        for row, columns in rows.items()
        for column, number in columns.items()
    }


def table(sections: Sections) -> str:
    """Text for a terminal: one table per section, a line per row."""
    lines = []
    for section, rows in sections.items():
        heads = list(dict.fromkeys(column for columns in rows.values() for column in columns))
        first = max(len(section), *(len(row) for row in rows))
        widths = [max(len(head), 9) for head in heads]
        lines += ["  ".join([section.ljust(first), *(h.rjust(w) for h, w in zip(heads, widths, strict=True))])]
        for row, columns in rows.items():
            cells = [_short(columns.get(head, math.nan)).rjust(w) for head, w in zip(heads, widths, strict=True)]
            lines.append("  ".join([row.ljust(first), *cells]))
        lines.append("")
    return "\n".join(lines)


def _short(number: float) -> str:
    if math.isnan(number):
        return "-"
    return f"{number:.2f}" if abs(number) >= 1 else f"{number:.4g}"


def write_csv(path: str | Path, images: Mapping[str, Sections], mean: Sections) -> None:
    """A line per image and one named "mean"; columns named by `flatten_sections`, in the mean's order."""
    heads = list(flatten_sections(mean))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["image", *heads])
    for name, sections in [*images.items(), ("mean", mean)]:
        numbers = flatten_sections(sections)
        cells = [numbers.get(head, math.nan) for head in heads]
        writer.writerow([name, *("" if math.isnan(cell) else f"{cell:.6g}" for cell in cells)])
    with atomic_write(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
