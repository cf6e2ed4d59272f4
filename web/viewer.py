"""A result as HTML: two images under a slider, all images enlarged, measured values and downloads.

viewer.js adds behaviour and page.css adds style, for any number of viewers in a page.
"""

import uuid
from html import escape
from pathlib import Path
from urllib.parse import quote

from web.actions import Result

ZOOMS = (2, 4, 12)
"""Zoom factors of the enlarged view: minimum, initial, maximum."""


def viewer(result: Result) -> str:
    """Returns the HTML of a result."""
    height, width = result.size
    parts = (_comparison(result), _values(result), _downloads(result), _detail(result))
    return f'<section class="viewer" style="--w:{width};--h:{height}">{"".join(parts)}</section>'


def notice(text: str, *, alert: bool = False) -> str:
    """Returns the HTML of a line shown instead of a result; `alert` marks it as an error."""
    return f'<p class="notice{" alert" if alert else ""}" role="{"alert" if alert else "status"}">{escape(text)}</p>'


def _comparison(result: Result) -> str:
    group, names = uuid.uuid4().hex, list(result.images)
    choices = "".join(
        f'<label><input type="radio" name="{group}" data-left="{names.index(left)}" data-right="{names.index(right)}"'
        f"{' checked' if not number else ''}><span>{escape(left)} ⇄ {escape(right)}</span></label>"
        for number, (left, right) in enumerate(result.pairs)
    )
    sides = dict(zip(result.pairs[0], ("left", "right"), strict=True))
    layers = "".join(
        f'<img class="layer {sides.get(name, "")}" alt="{escape(name)}" src="{_address(path)}" draggable="false">'
        for name, path in result.images.items()
    )
    left, right = map(escape, result.pairs[0])
    return (
        f'<div class="pairs" role="radiogroup" aria-label="Images to compare">{choices}</div>'
        f'<div class="compare">{layers}<span class="tag left">{left}</span><span class="tag right">{right}</span>'
        '<i class="line"></i><input type="range" min="0" max="100" value="50" step="0.5" aria-label="Slide between '
        'the two images"></div>'
    )


def _values(result: Result) -> str:
    width_height = f"{result.size[1]} × {result.size[0]}"
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in {**result.values, "pixels": width_height}.items()
    )
    remark = f'<p class="remark">{escape(result.remark)}</p>' if result.remark else ""
    return f'<dl class="values">{cells}</dl>{remark}'


def _downloads(result: Result) -> str:
    links = "".join(
        f'<a class="download" href="{_address(path)}" download="{escape(path.name)}">Download {escape(name)}</a>'
        for name, path in result.downloads.items()
    )
    return f'<p class="downloads">{links}</p>'


def _detail(result: Result) -> str:
    minimum, initial, maximum = ZOOMS
    panes = "".join(
        f'<figure><div class="pane" tabindex="0" role="img" aria-label="{escape(name)}, enlarged; arrow keys move it" '
        f"style=\"background-image:url('{_address(path)}')\"></div><figcaption>{escape(name)}</figcaption></figure>"
        for name, path in result.images.items()
    )
    return (
        f'<div class="detail" style="--zoom:{initial};--x:.5;--y:.3"><div class="head"><b>Pixel for pixel</b>'
        f'<label>zoom <input class="zoom" type="range" min="{minimum}" max="{maximum}" value="{initial}" step="1">'
        f'<output>{initial}×</output></label><span class="hint">drag or use the arrow keys</span></div>'
        f'<div class="panes">{panes}</div></div>'
    )


def _address(path: Path) -> str:
    """The URL, relative to the page, where gradio serves a file of an allowed folder; escaped for HTML and CSS."""
    return f"gradio_api/file={quote(str(path.resolve()), safe='/')}"
