"""A result as HTML: two pictures under a slider, all of them close up, figures and downloads.

viewer.js moves the parts, page.css makes them look; both work on any number of viewers in a page.
"""

import uuid
from html import escape
from pathlib import Path
from urllib.parse import quote

from web.actions import Shown

ZOOMS = (2, 4, 12)
"""Screen pixels a side for one of the picture: least, at first, most."""


def viewer(shown: Shown) -> str:
    """The HTML of a result."""
    height, width = shown.size
    parts = (_compare(shown), _figures(shown), _downloads(shown), _closer(shown))
    return f'<section class="viewer" style="--w:{width};--h:{height}">{"".join(parts)}</section>'


def notice(text: str, *, alert: bool = False) -> str:
    """A line in the place of a result; `alert` for what went wrong."""
    return f'<p class="notice{" alert" if alert else ""}" role="{"alert" if alert else "status"}">{escape(text)}</p>'


def _compare(shown: Shown) -> str:
    group, names = uuid.uuid4().hex, list(shown.pictures)
    choices = "".join(
        f'<label><input type="radio" name="{group}" data-left="{names.index(left)}" data-right="{names.index(right)}"'
        f"{' checked' if not number else ''}><span>{escape(left)} ⇄ {escape(right)}</span></label>"
        for number, (left, right) in enumerate(shown.pairs)
    )
    sides = dict(zip(shown.pairs[0], ("left", "right"), strict=True))
    layers = "".join(
        f'<img class="layer {sides.get(name, "")}" alt="{escape(name)}" src="{_address(path)}" draggable="false">'
        for name, path in shown.pictures.items()
    )
    left, right = map(escape, shown.pairs[0])
    return (
        f'<div class="pairs" role="radiogroup" aria-label="What to compare">{choices}</div>'
        f'<div class="compare">{layers}<span class="tag left">{left}</span><span class="tag right">{right}</span>'
        '<i class="line"></i><input type="range" min="0" max="100" value="50" step="0.5" aria-label="Slide between '
        'the two pictures"></div>'
    )


def _figures(shown: Shown) -> str:
    width_height = f"{shown.size[1]} × {shown.size[0]}"
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in {**shown.figures, "pixels": width_height}.items()
    )
    remark = f'<p class="remark">{escape(shown.remark)}</p>' if shown.remark else ""
    return f'<dl class="figures">{cells}</dl>{remark}'


def _downloads(shown: Shown) -> str:
    links = "".join(
        f'<a class="download" href="{_address(path)}" download="{escape(path.name)}">Download {escape(name)}</a>'
        for name, path in shown.downloads.items()
    )
    return f'<p class="downloads">{links}</p>'


def _closer(shown: Shown) -> str:
    least, first, most = ZOOMS
    panes = "".join(
        f'<figure><div class="pane" tabindex="0" role="img" aria-label="{escape(name)}, close up; arrow keys move" '
        f"style=\"background-image:url('{_address(path)}')\"></div><figcaption>{escape(name)}</figcaption></figure>"
        for name, path in shown.pictures.items()
    )
    return (
        f'<div class="closer" style="--zoom:{first};--x:.5;--y:.3"><div class="head"><b>Pixel for pixel</b>'
        f'<label>zoom <input class="zoom" type="range" min="{least}" max="{most}" value="{first}" step="1">'
        f'<output>{first}×</output></label><span class="hint">drag, or arrow keys</span></div>'
        f'<div class="panes">{panes}</div></div>'
    )


def _address(path: Path) -> str:
    """Where gradio serves a file of its allowed folders, from the page's own address; safe in HTML and in CSS."""
    return f"gradio_api/file={quote(str(path.resolve()), safe='/')}"
