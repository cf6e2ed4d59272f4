"""The command: python -m halftone --method NAME [options] IN OUT."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from halftone.gallery import contact_sheet
from halftone.inks import per_channel, per_ink
from halftone.light import linear_light
from halftone.methods import METHODS, Method
from halftone.palette import diffuse_to_palette
from halftone.screens import TRADE_ANGLES

SUFFIXES = {".bmp", ".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}
COLOURS = ("gray", "rgb", "cmyk", "palette")


class Refused(Exception):
    """A mistake of the user's; the message is the line to print."""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return the exit code: 2 for a mistake, 3 if images of a folder had to be skipped."""
    try:
        arguments = _parse(argv)
        if arguments.list:
            print(list_methods())
        elif arguments.gallery:
            photo = cv2.cvtColor(_read(arguments.input), cv2.COLOR_BGR2GRAY)
            _write(arguments.output, contact_sheet(photo))
        else:
            return _convert_all(arguments)
    except Refused as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2
    return 0


def list_methods() -> str:
    """Return every method with its source and its options, grouped by family."""
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
        prog="python -m halftone", description="Halftone a photograph or a folder of them."
    )
    parser.add_argument("input", nargs="?", type=Path, metavar="IN", help="an image or a folder of images")
    parser.add_argument("output", nargs="?", type=Path, metavar="OUT", help="a PNG, or a folder where IN is one")
    parser.add_argument("--method", default="ostromoukhov", metavar="NAME", help="see --list (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the method")
    parser.add_argument(
        "--linear", action="store_true", help="halftone the light that sRGB levels stand for (gray, rgb)"
    )
    parser.add_argument("--colour", choices=COLOURS, default="gray", help="gray is 1 bit; rgb and cmyk give 8 colours")
    parser.add_argument("--palette", metavar="RRGGBB,...", help="the colours for --colour palette")
    parser.add_argument("--list", action="store_true", help="print every method with its source and options")
    parser.add_argument("--gallery", action="store_true", help="write one sheet of all methods on the image IN to OUT")
    arguments = parser.parse_args(argv)
    if not arguments.list and (arguments.input is None or arguments.output is None):
        raise Refused("IN and OUT are needed, or --list")
    return arguments


def _convert_all(arguments: argparse.Namespace) -> int:
    convert = _conversion(arguments)
    if not arguments.input.is_dir():
        _convert(convert, arguments.input, arguments.output)
        return 0
    photos = sorted(path for path in arguments.input.iterdir() if path.suffix.lower() in SUFFIXES)
    if not photos:
        raise Refused(f"{arguments.input}: no images in this folder")
    names = [photo.stem for photo in photos]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Refused(f"{arguments.input}: several images would become {twice}.png")
    code = 0
    for photo in photos:
        try:
            _convert(convert, photo, arguments.output / f"{photo.stem}.png")
        except Refused as mistake:
            print(f"skipped: {mistake}", file=sys.stderr)
            code = 3
    return code


def _convert(convert: Callable[[np.ndarray], np.ndarray], photo: Path, target: Path) -> None:
    bgr = _read(photo)
    try:
        result = convert(bgr)
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{photo}: {error.args[0]}") from error
    _write(target, result)


def _conversion(arguments: argparse.Namespace) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from BGR uint8 (H, W, 3) to what is written."""
    if arguments.palette and arguments.colour != "palette":
        raise Refused("--palette is for --colour palette")
    if arguments.colour == "palette":
        palette = _palette(arguments.palette)
        if arguments.set or arguments.linear:
            raise Refused("--colour palette takes neither --set nor --linear")
        return lambda bgr: diffuse_to_palette(bgr, palette)
    if arguments.method not in METHODS:
        raise Refused(f"unknown method {arguments.method!r}, known: {', '.join(METHODS)}")
    method = METHODS[arguments.method]
    options = _options(method, arguments.set)
    known = method.options()

    def halftone(gray: np.ndarray) -> np.ndarray:
        return method(linear_light(gray) if arguments.linear else gray, **options)

    def plate(gray: np.ndarray, ink: str) -> np.ndarray:
        number = list(TRADE_ANGLES).index(ink)
        own = dict(options)
        if "angle" in known:
            own.setdefault("angle", TRADE_ANGLES[ink])
        if "seed" in known and method.name != "blue_noise":
            own["seed"] = options.get("seed", 0) + number
        return method(gray, **own)

    if arguments.colour == "gray":
        return lambda bgr: halftone(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))
    if arguments.colour == "rgb":
        return lambda bgr: per_channel(bgr, halftone)
    if arguments.linear:
        raise Refused("--linear is for gray and rgb: ink coverages are not levels of light")
    return lambda bgr: per_ink(bgr, plate)


def _options(method: Method, settings: list[str]) -> dict[str, int | float | bool | str]:
    known = method.options()
    options = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or name not in known:
            raise Refused(f"{method.name} has no option {setting!r}, known: {', '.join(known) or 'none'}")
        options[name] = _value(known[name], text)
    return options


def _value(option: inspect.Parameter, text: str) -> int | float | bool | str:
    try:
        if option.annotation is bool:
            return {"true": True, "false": False}[text.lower()]
        return option.annotation(text)
    except (KeyError, ValueError) as error:
        wanted = "true or false" if option.annotation is bool else option.annotation.__name__
        raise Refused(f"option {option.name} must be {wanted}, not {text!r}") from error


def _palette(text: str | None) -> np.ndarray:
    wanted = "--colour palette needs --palette with colours as RRGGBB,RRGGBB,..."
    try:
        colours = [bytes.fromhex(colour.strip().lstrip("#")) for colour in (text or "").split(",")]
    except ValueError as error:
        raise Refused(wanted) from error
    if any(len(colour) != 3 for colour in colours):
        raise Refused(wanted)
    return np.array([list(colour[::-1]) for colour in colours], np.uint8)


def _read(path: Path) -> np.ndarray:
    if not path.is_file():
        raise Refused(f"{path}: no such file")
    data = np.fromfile(path, np.uint8)
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:
        bgr = None
    if bgr is None:
        raise Refused(f"{path}: not an image that can be read")
    return bgr


def _write(path: Path, image: np.ndarray) -> None:
    """Write a PNG that appears under its name only when it is complete: 1 bit for black and white, else 8."""
    if path.suffix.lower() != ".png":
        raise Refused(f"{path}: halftones are written as .png")
    bilevel = image.ndim == 2 and not np.any((image != 0) & (image != 255))
    _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_BILEVEL, 1] if bilevel else [])
    temporary = path.with_name(f".{path.stem[:100]}.{os.getpid()}.tmp.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
