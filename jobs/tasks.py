"""Which files of a folder are read, and under which names their results are written."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from images.files import OTHER_SUFFIXES, list_images
from utils.errors import UserError


class Task(NamedTuple):
    """An input file, and the name of its outputs relative to halftone/, restored/ and the like."""

    path: Path
    name: Path


def plan(source: Path, out: Path, recursive: bool, kinds: Sequence[str]) -> list[Task]:
    """The tasks of a folder, checked before any work is done. `kinds` are the folders in `out` that get the outputs.

    Raises UserError when two inputs would be written as one file, when an input would be overwritten, when there are
    none, or when a file stands where `out` should be. An output folder inside the input folder is no input.
    """
    for kind in kinds:
        check_folder(out / kind)
    if source.resolve() == out.resolve():
        raise UserError(f"{out}: results need another folder than the photographs")
    tasks: list[Task] = []
    taken: dict[Path, Path] = {}
    apart = not source.resolve().is_relative_to(out.resolve())
    for path in list_images(source, recursive):
        if apart and path.parent.resolve().is_relative_to(out.resolve()):
            continue
        relative = path.relative_to(source)
        if path.is_dir() or path.suffix.lower() in OTHER_SUFFIXES:  # will be refused when it is read
            tasks.append(Task(path, relative.with_name(f"{relative.name}.png")))
            continue
        name = relative.with_name(relative.stem + ".png")
        if name in taken:
            raise UserError(f"{path} and {taken[name]} would both be written as {name}: rename one of them")
        tasks.append(Task(path, name))
        taken[name] = path
    if not tasks:
        raise UserError(f"{source}: no images in it")
    for path, name in tasks:
        if clash := next((taken[parent] for parent in name.parents if parent in taken), None):
            raise UserError(f"{path} needs a folder where {clash} would be written: rename one of them")
    check_overwriting(taken.values(), (out / kind / name for kind in kinds for _, name in tasks))
    return tasks


def check_overwriting(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raises UserError where an output would be written over an input."""
    originals = {os.path.realpath(path) for path in inputs}
    for output in outputs:
        if os.path.realpath(output) in originals:
            raise UserError(f"{output} is an input and would be overwritten: choose another folder")


def check_folder(folder: Path) -> None:
    """Raises UserError where `folder`, or one above it, is something else than a folder."""
    standing = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), None)
    if standing is not None and not standing.is_dir():
        raise UserError(f"{standing}: not a folder")


def check_writable(folder: Path) -> None:
    """Make `folder` where it is missing. Raises UserError where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error


def with_folder(path: Path) -> Path:
    """`path`, whose folder is made if need be. Raises UserError when it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be made: {error.strerror}") from error
    return path
