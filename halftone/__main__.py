"""Halftone a photograph or a folder of them by a classical method.

    python -m halftone [--method NAME] [--set OPTION=VALUE] [--colour gray|rgb|cmyk|palette] IN OUT

Writes the PNG file OUT or, for a folder IN, OUT/NAME.png for each image; gray halftones have one bit per pixel.
Exit code: 0 success, 2 invalid arguments, 3 some images were skipped, 130 or 143 interrupted.
"""

import argparse
import inspect
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from halftone.gallery import contact_sheet
from halftone.inks import per_channel, per_ink
from halftone.light import linear_light, luminance
from halftone.methods import METHODS, Method
from halftone.palette import diffuse_to_palette
from halftone.screens import STANDARD_ANGLES
from images.files import MAX_PIXELS, read_image, write_halftone, write_image
from jobs.tasks import plan_tasks
from utils.command import exit_code
from utils.errors import UserError, did_you_mean, name_errors, printable
from utils.files import check_folder, check_writable, make_parent

COLOURS = ("gray", "rgb", "cmyk", "palette")
DEFAULT = "ostromoukhov"


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
    add("output", nargs="?", type=Path, metavar="OUT", help="a PNG, or a folder where IN is one")
    add("--method", metavar="NAME", help=f"see --list (default: {DEFAULT})")
    add("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the method")
    add("--linear", action="store_true", help="halftone linear light instead of sRGB levels (gray, rgb)")
    add("--colour", choices=COLOURS, help="gray is 1 bit (default); rgb and cmyk give 8 colours")
    add("--palette", metavar="RRGGBB,...", help="the colours for --colour palette")
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
        convert = _gallery
    else:
        convert = _conversion(arguments)
    if arguments.input.is_dir() and not arguments.gallery:
        return _convert_folder(arguments, convert)
    _check_output(arguments.input, arguments.output)
    _convert(convert, arguments.input, arguments.output, arguments.max_pixels)
    return 0


def _gallery(bgr: np.ndarray) -> np.ndarray:
    return contact_sheet(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))


def _check_output(photo: Path, target: Path) -> None:
    if target.suffix.lower() != ".png":
        raise UserError(f"{target}: halftones are written as .png")
    if os.path.realpath(photo) == os.path.realpath(target):
        raise UserError(f"{target} is the input and would be overwritten")
    if target.is_dir():
        raise UserError(f"{target}: a folder, not a file name")
    check_folder(target.parent)


def _convert_folder(arguments: argparse.Namespace, convert: Callable[[np.ndarray], np.ndarray]) -> int:
    tasks, skipped = plan_tasks(arguments.input, arguments.output, arguments.recursive, (".",)), []
    check_writable(arguments.output)
    for path, name in tqdm(tasks, "halftoning", unit="image"):
        try:
            _convert(convert, path, arguments.output / name, arguments.max_pixels)
        except UserError as error:
            tqdm.write(printable(f"skipped: {error}"), file=sys.stderr)
            skipped.append(name.with_name(path.name).as_posix())
    if skipped:
        print(f"{len(skipped)} of {len(tasks)} skipped: {printable(', '.join(skipped))}", file=sys.stderr)
    return 3 if skipped else 0


def _convert(convert: Callable[[np.ndarray], np.ndarray], photo: Path, target: Path, max_pixels: int) -> None:
    bgr = read_image(photo, max_pixels=max_pixels).bgr
    try:
        with name_errors(photo):
            result = convert(bgr)
    except (KeyError, ValueError) as error:
        raise UserError(f"{photo}: {error.args[0]}") from error
    if result.ndim == 2 and not np.any((result != 0) & (result != 255)):
        write_halftone(make_parent(target), result)
    else:
        write_image(make_parent(target), result)


def _conversion(arguments: argparse.Namespace) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that converts BGR uint8 (H, W, 3) to the output image."""
    name, colour = arguments.method or DEFAULT, arguments.colour or "gray"
    if arguments.palette and colour != "palette":
        raise UserError("--palette is for --colour palette")
    if colour == "palette":
        palette = _palette(arguments.palette)
        if arguments.method or arguments.set or arguments.linear:
            raise UserError("--colour palette takes neither --method nor --set nor --linear")
        return lambda bgr: diffuse_to_palette(bgr, palette)
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

    if colour == "gray" and arguments.linear:
        return lambda bgr: method(luminance(bgr), **options)
    if colour == "gray":
        return lambda bgr: method(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), **options)
    if colour == "rgb":
        return lambda bgr: per_channel(bgr, halftone)
    if arguments.linear:
        raise UserError("--linear is for gray and rgb: ink coverages are not levels of light")
    return lambda bgr: per_ink(bgr, halftone_ink)


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
    wanted = "--colour palette needs --palette with colours as RRGGBB,RRGGBB,..."
    try:
        colours = [bytes.fromhex(colour.strip().lstrip("#")) for colour in (text or "").split(",")]
    except ValueError as error:
        raise UserError(wanted) from error
    if any(len(colour) != 3 for colour in colours):
        raise UserError(wanted)
    return np.array([list(colour[::-1]) for colour in colours], np.uint8)


if __name__ == "__main__":
    sys.exit(main())
