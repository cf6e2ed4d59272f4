"""What has been finished in an output folder, so that an interrupted run can go on where it stopped."""

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from utils.errors import UserError
from utils.files import checksum


class Manifest:
    """OUT/manifest.jsonl: a line for every finished input, appended when its outputs are complete.

    A line says which bytes went in, what made the outputs and how long they are; the last line of a name counts.
    A line torn by a kill or a full disk counts as absent. Several processes may append to one manifest.

    folder    the output folder
    made_by   whatever decides the outputs besides the input, as plain values: checkpoint, seed, …
    """

    def __init__(self, folder: Path, made_by: dict):
        self.folder = folder
        self.path = folder / "manifest.jsonl"
        self.made_by = made_by
        self.entries: dict[str, dict] = {}
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from error
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self.entries[entry["name"]] = entry
            except (ValueError, TypeError, KeyError):
                continue

    def covers(self, name: str, digest: str) -> bool:
        """Whether the outputs of this input are there, complete, and what this run would make."""
        entry = self.entries.get(name)
        if entry is None or entry.get("input") != digest or entry.get("made_by") != self.made_by:
            return False
        outputs = entry.get("outputs")
        if not isinstance(outputs, dict) or not outputs:
            return False
        return all(
            (self.folder / output).is_file() and (self.folder / output).stat().st_size == size
            for output, size in outputs.items()
        )

    def add(self, name: str, digest: str, outputs: Sequence[Path]) -> None:
        """Note that `outputs`, paths inside the folder, are complete. Raises UserError when it cannot be written."""
        sizes = {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in outputs}
        line = json.dumps({"name": name, "input": digest, "made_by": self.made_by, "outputs": sizes})
        try:
            with open(self.path, "ab+") as file:
                with suppress(OSError):  # without locks, one process at a time may still append
                    fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
                torn = file.read(1) not in (b"", b"\n")
                file.write(b"\n" * torn + line.encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; empty where it cannot be read, which its reader will say better."""
    try:
        return checksum(path) if path.is_file() else ""  # opening a pipe would wait for its other end
    except OSError:
        return ""
