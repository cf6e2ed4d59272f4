"""Which files of a folder are inputs, and the names of their outputs."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from images.listing import IMAGE_SUFFIXES, survey
from utils.errors import UserError, printable
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


class Plan(NamedTuple):
    """The tasks of a folder, and remarks about its files for the user."""

    tasks: list[Task]
    remarks: list[str]

    def print_remarks(self) -> None:
        """Print the remarks to standard error, one line each."""
        for remark in self.remarks:
            print(printable(remark), file=sys.stderr)


def plan_tasks(source: Path, out: Path, recursive: bool, folders: Mapping[str, str]) -> Plan:
    """The tasks of the folder or file `source`; the outputs go to `folders` in `out`, with the suffix of each.

    Images below `out` are not inputs. Raises UserError when an output would overwrite an input, when there are no
    inputs, and when an output folder is a file.
    """
    for folder in folders:
        check_folder(out / folder)
    if source.resolve() == out.resolve():
        raise UserError(f"{out}: the output folder must differ from the input folder")
    inside = source.resolve().is_relative_to(out.resolve())
    inputs, ignored = survey(source, recursive, None if inside else out.resolve())
    if not inputs:
        raise UserError(f"{source}: contains no images")
    names, remarks = output_names(inputs, source if source.is_dir() else source.parent)
    outputs = (out / folder / name.with_suffix(suffix) for folder, suffix in folders.items() for name in names.values())
    check_overwriting((path for path in inputs if path.is_file()), outputs)
    return Plan([Task(path, name) for path, name in names.items()], remarks + other_files(source, ignored))


def other_files(source: Path, count: int) -> list[str]:
    """The remark that `count` files of a folder are no images; empty for 0."""
    return [f"{source}: {count} other file{'s' * (count > 1)} ignored"] if count else []


def output_names(paths: Sequence[Path], base: Path) -> tuple[dict[Path, Path], list[str]]:
    """The name of each file's output, NAME.png relative to the folder `base`, and a remark if some are longer.

    Files that differ in their ending only, as a.jpg and a.png, keep it: a.jpg.png and a.png.png.
    """
    long = {path: path.relative_to(base).with_name(f"{path.name}.png") for path in paths}
    names = {path: name.with_name(f"{path.stem}.png") for path, name in long.items()}
    for path in paths:
        if path.suffix.lower() not in IMAGE_SUFFIXES:  # without ending, or refused when it is read
            names[path] = long[path]
    apart = 0
    while True:
        taken = Counter(names.values()) + Counter(parent for name in set(names.values()) for parent in name.parents)
        clashing = [path for path, name in names.items() if taken[name] > 1 and name != long[path]]
        if not clashing:
            break
        apart += len(clashing)
        names |= {path: long[path] for path in clashing}
    if not apart:
        return names, []
    example = next(path for path in paths if names[path] == long[path] and path.suffix.lower() in IMAGE_SUFFIXES)
    count = f"{apart} files have the name of another but for the ending"
    return names, [f"{base}: {count}; their results keep it: {example.name} becomes {names[example].name}"]
