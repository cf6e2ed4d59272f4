"""Halftone a photograph or a folder of them by a classical method.

    python -m halftone [--method NAME] [--set OPTION=VALUE] [--colour gray|rgb|cmyk|palette] IN OUT

Writes the file OUT in the format of its ending, .png, .bmp, .tif or .pbm, or for a folder IN, OUT/NAME.png for each
image. Gray halftones have one bit per pixel; those of a palette are indexed.
Exit code: 0 success, 2 invalid arguments, 3 some images were skipped, 130 or 143 interrupted.
"""

import argparse
import inspect
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from halftone.diffusion_kernels import KERNELS
from halftone.gallery import contact_sheet
from halftone.inks import per_channel, per_ink
from halftone.light import linear_light, luminance
from halftone.methods import METHODS, Method
from halftone.palette import palette_indices, palette_pattern
from halftone.screens import STANDARD_ANGLES
from images.encode import HALFTONE_SUFFIXES, PALETTE_SUFFIXES
from images.files import MAX_PIXELS, read_image, write_halftone, write_image, write_indexed
from images.transparency import BACKGROUND_HELP, WHITE, on_background
from jobs.tasks import plan_tasks
from utils.colour import parse_colour
from utils.command import exit_code, warn
from utils.errors import UserError, did_you_mean, name_errors, printable
from utils.files import check_folder, check_writable, make_parent
from utils.progress import print_above, progress

COLOURS = ("gray", "rgb", "cmyk", "palette")
DEFAULT = "ostromoukhov"


class Indexed(NamedTuple):
    """A halftone in the colours of a palette: uint8 indices (H, W) into BGR uint8 (P, 3)."""

    indices: np.ndarray
    palette: np.ndarray


Convert = Callable[[np.ndarray], np.ndarray | Indexed]
"""BGR uint8 (H, W, 3) → the output image."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return exit_code(lambda: _run(_parse(argv)))


def list_methods() -> str:
    """Return a text with the source and the options of every method, grouped by family."""
    lines = []
    family = None
    for method in METHODS.values():
        if method.family != family:
            family = method.family
            lines.append(f"\n{family}" if lines else family)
        options = ", ".join(f"{name}={option.default}" for name, option in method.options().items())
        lines.append(f"  {method.name:24}{method.source}" + (f" [{options}]" if options else ""))
    return "\n".join(lines)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m halftone", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("input", nargs="?", type=Path, metavar="IN", help="an image or a folder of images")
    add("output", nargs="?", type=Path, metavar="OUT", help="a .png, .bmp, .tif or .pbm, or a folder where IN is one")
    add("--method", metavar="NAME", help=f"see --list (default: {DEFAULT})")
    add("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the method")
    add("--linear", action="store_true", help="halftone linear light instead of sRGB levels (not cmyk)")
    add("--colour", choices=COLOURS, help="gray is 1 bit (default); rgb and cmyk give 8 colours")
    add("--palette", metavar="COLOUR,...", help="the colours of --colour palette: RRGGBB, RGB or CSS names")
    add("--halftone_format", choices=[suffix[1:] for suffix in HALFTONE_SUFFIXES], help="for a folder (default: png)")
    add("--background", type=parse_colour, metavar="COLOUR", default=WHITE, help=BACKGROUND_HELP)
    add("--recursive", action="store_true", help="include subfolders and keep their structure")
    add("--max_pixels", type=int, default=MAX_PIXELS, help="larger images are skipped")
    add("--list", action="store_true", help="print every method with its source and options")
    add("--gallery", action="store_true", help="write one sheet of all methods on the image IN to OUT")
    return parser.parse_args(argv)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.list:
        print(list_methods())
        return 0
    if arguments.input is None or arguments.output is None:
        raise UserError("IN and OUT are needed, or --list")
    if arguments.gallery:
        if arguments.method or arguments.set or arguments.linear or arguments.colour or arguments.palette:
            raise UserError("--gallery shows all methods as they are: it takes no other options")
        convert, suffixes = _gallery, (".png",)
    else:
        convert, suffixes = _conversion(arguments)
    if arguments.input.is_dir() and not arguments.gallery:
        return _convert_folder(arguments, convert, suffixes)
    if arguments.halftone_format:
        raise UserError("--halftone_format is for a folder: the ending of OUT gives the format of a file")
    _check_output(arguments.input, arguments.output, suffixes)
    _convert(convert, arguments, arguments.input, arguments.output)
    return 0


def _gallery(bgr: np.ndarray) -> np.ndarray:
    return contact_sheet(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))


def _check_output(photo: Path, target: Path, suffixes: Sequence[str]) -> None:
    if target.suffix.lower() not in suffixes:
        *others, last = suffixes
        allowed = f"{', '.join(others)} or {last}" if others else last
        raise UserError(f"{target}: halftones are written as {allowed}")
    if os.path.realpath(photo) == os.path.realpath(target):
        raise UserError(f"{target} is the input and would be overwritten")
    if target.is_dir():
        raise UserError(f"{target}: a folder, not a file name")
    check_folder(target.parent)


def _convert_folder(arguments: argparse.Namespace, convert: Convert, suffixes: Sequence[str]) -> int:
    suffix, skipped = f".{arguments.halftone_format or 'png'}", []
    if suffix not in suffixes:
        raise UserError(f"--halftone_format {suffix[1:]} stores no colours: allowed are {', '.join(suffixes)}")
    plan = plan_tasks(arguments.input, arguments.output, arguments.recursive, {".": suffix})
    check_writable(arguments.output)
    plan.print_remarks()
    tasks = plan.tasks
    for path, name in progress(tasks, "halftoning", unit="image"):
        try:
            _convert(convert, arguments, path, arguments.output / name.with_suffix(suffix))
        except UserError as error:
            print_above(f"skipped: {error}")
            skipped.append(name.with_name(path.name).as_posix())
    if skipped:
        print(f"{len(skipped)} of {len(tasks)} skipped: {printable(', '.join(skipped))}", file=sys.stderr)
    return 3 if skipped else 0


def _convert(convert: Convert, arguments: argparse.Namespace, photo: Path, target: Path) -> None:
    image = read_image(photo, max_pixels=arguments.max_pixels)
    warn(photo, image.remarks)
    try:
        with name_errors(photo):
            result = convert(on_background(image.bgr, image.alpha, arguments.background))
    except (KeyError, ValueError) as error:
        raise UserError(f"{photo}: {error.args[0]}") from error
    target = make_parent(target)
    if isinstance(result, Indexed):
        write_indexed(target, result.indices, result.palette, image.resolution)
    elif result.ndim == 2 and not np.any((result != 0) & (result != 255)):
        write_halftone(target, result, image.resolution)
    else:
        write_image(target, result, resolution=image.resolution)


def _conversion(arguments: argparse.Namespace) -> tuple[Convert, Sequence[str]]:
    """The function that converts BGR uint8 (H, W, 3) to the output image, and the suffixes of files for it."""
    name, colour = arguments.method or DEFAULT, arguments.colour or ("palette" if arguments.palette else "gray")
    if arguments.palette and colour != "palette":
        raise UserError("--palette is for --colour palette")
    if colour == "palette":
        name = arguments.method or "floyd_steinberg"
    if name not in METHODS:
        raise UserError(f"unknown method {name!r}, known: {', '.join(METHODS)}{did_you_mean(name, METHODS)}")
    method = METHODS[name]
    options = _options(method, arguments.set)
    known = method.options()

    def halftone(gray: np.ndarray) -> np.ndarray:
        return method(linear_light(gray) if arguments.linear else gray, **options)

    def halftone_ink(gray: np.ndarray, ink: str) -> np.ndarray:
        number = list(STANDARD_ANGLES).index(ink)
        settings = dict(options)
        if "angle" in known:
            settings.setdefault("angle", STANDARD_ANGLES[ink])
        if "seed" in known and method.name != "blue_noise":
            settings["seed"] = options.get("seed", 0) + number
        return method(gray, **settings)

    if colour == "palette":
        return _palette_conversion(arguments, method, options)
    if colour == "gray" and arguments.linear:
        return (lambda bgr: method(luminance(bgr), **options)), HALFTONE_SUFFIXES
    if colour == "gray":
        return (lambda bgr: method(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), **options)), HALFTONE_SUFFIXES
    if colour == "rgb":
        return (lambda bgr: per_channel(bgr, halftone)), PALETTE_SUFFIXES
    if arguments.linear:
        raise UserError("--linear is not for cmyk: ink coverages are not levels of light")
    return (lambda bgr: per_ink(bgr, halftone_ink)), PALETTE_SUFFIXES


def _palette_conversion(
    arguments: argparse.Namespace, method: Method, options: dict[str, int | float | bool | str]
) -> tuple[Convert, Sequence[str]]:
    """As `_conversion`, to a palette: vector error diffusion with a fixed kernel, or a method of thresholds."""
    palette = _palette(arguments.palette)
    diffuses, compares = method.name in KERNELS, method.family in ("ordered", "AM screen")
    if not (diffuses or compares):
        names = [known for known, other in METHODS.items() if other.family in ("ordered", "AM screen")]
        raise UserError(f"{method.name} knows black and white only; for palettes: {', '.join([*KERNELS, *names])}")
    if diffuses and (other := [name for name in options if name != "serpentine"]):
        raise UserError(f"option {other[0]} is for black and white; for palettes: serpentine")

    def levels(colours: np.ndarray) -> np.ndarray:
        return linear_light(np.arange(256, dtype=np.uint8)[None])[0][colours] if arguments.linear else colours

    def convert(bgr: np.ndarray) -> np.ndarray | Indexed:
        if diffuses:
            indices = palette_indices(levels(bgr), levels(palette), method.name, **options)
        else:
            indices = palette_pattern(levels(bgr), levels(palette), lambda gray: method(gray, **options))
        if bilevel and suffix in HALFTONE_SUFFIXES[1:]:  # of one bit; an indexed PNG of two colours has one as well
            return palette[indices][..., 0]
        return Indexed(indices.astype(np.uint8), palette)

    suffix = f".{arguments.halftone_format}" if arguments.halftone_format else arguments.output.suffix.lower()
    bilevel = set(map(tuple, palette.tolist())) <= {(0, 0, 0), (255, 255, 255)}
    return convert, HALFTONE_SUFFIXES if bilevel else PALETTE_SUFFIXES


def _options(method: Method, settings: list[str]) -> dict[str, int | float | bool | str]:
    known = method.options()
    options = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or name not in known:
            listed = f"{', '.join(known) or 'none'}{did_you_mean(name, known)}"
            raise UserError(f"{method.name} has no option {setting!r}, known: {listed}")
        options[name] = _value(known[name], text)
    return options


def _value(option: inspect.Parameter, text: str) -> int | float | bool | str:
    try:
        if option.annotation is bool:
            return {"true": True, "false": False}[text.lower()]
        value = option.annotation(text)
        if option.annotation is float and not math.isfinite(value):
            raise ValueError
        return value
    except (KeyError, ValueError) as error:
        wanted = {bool: "true or false", float: "a finite float"}.get(option.annotation, option.annotation.__name__)
        raise UserError(f"option {option.name} must be {wanted}, not {text!r}") from error


def _palette(text: str | None) -> np.ndarray:
    if not text:
        raise UserError("--colour palette needs --palette with colours as RRGGBB,RRGGBB,...")
    try:
        colours = [parse_colour(colour) for colour in text.split(",")]
    except UserError as error:
        raise UserError(f"--palette: {error}") from None
    if len(colours) > 256:
        raise UserError(f"--palette: {len(colours)} colours; 256 at most")
    return np.array(colours, np.uint8)


if __name__ == "__main__":
    sys.exit(main())
