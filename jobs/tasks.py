"""Which files of a folder are inputs, and the names of their outputs."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from images.files import OTHER_SUFFIXES, list_images
from utils.errors import UserError
from utils.files import check_folder, check_overwriting

HALFTONES, RESTORED = "halftone", "restored"
"""Folders of the outputs, as in the original ResHalf."""
OVERVIEW = "overview.png"


class Task(NamedTuple):
    """An input file, and the name of its outputs relative to halftone/, restored/ and the like."""

    path: Path
    name: Path

    @property
    def key(self) -> str:
        """The name in the manifest."""
        return self.name.as_posix()


def plan_tasks(source: Path, out: Path, recursive: bool, folders: Sequence[str]) -> list[Task]:
    """The tasks of the folder `source`; the outputs go to `folders` in `out`. Images below `out` are not inputs.

    Raises UserError when two inputs have the same output, when an output would overwrite an input, when there are no
    inputs, and when an output folder is a file.
    """
    for folder in folders:
        check_folder(out / folder)
    if source.resolve() == out.resolve():
        raise UserError(f"{out}: the output folder must differ from the input folder")
    tasks: list[Task] = []
    taken: dict[Path, Path] = {}
    apart = not source.resolve().is_relative_to(out.resolve())
    for path in list_images(source, recursive):
        if apart and path.parent.resolve().is_relative_to(out.resolve()):
            continue
        relative = path.relative_to(source)
        if path.is_dir() or path.suffix.lower() in OTHER_SUFFIXES:  # refused when it is read
            tasks.append(Task(path, relative.with_name(f"{relative.name}.png")))
            continue
        name = relative.with_name(relative.stem + ".png")
        if name in taken:
            raise UserError(f"{path} and {taken[name]} would both be written as {name}: rename one of them")
        tasks.append(Task(path, name))
        taken[name] = path
    if not tasks:
        raise UserError(f"{source}: contains no images")
    for path, name in tasks:
        if clash := next((taken[parent] for parent in name.parents if parent in taken), None):
            raise UserError(f"{path} needs a folder where {clash} would be written: rename one of them")
    check_overwriting(taken.values(), (out / folder / name for folder in folders for _, name in tasks))
    return tasks
