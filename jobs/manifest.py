"""The record of an output folder: which inputs are finished, and with which result."""

import fcntl
import json
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from utils.errors import UserError

ALL_SHARDS = "all"
"""Name of the line that discards the outcomes of all shards."""


class FileResult(NamedTuple):
    """Size (height, width) of an input, seconds of computing, quality measures by name, and a remark.

    All are None in lines written by earlier releases.
    """

    size: Sequence[int] | None
    seconds: float | None
    scores: dict[str, float] | None
    note: str | None


class Manifest:
    """OUT/manifest.jsonl: one line for every finished input, appended when its outputs are complete.

    Keys of a line: name, input (SHA-256), made_by, outputs {file: bytes}, and size, seconds, scores and note of the
    result. The last line of a name is valid. Incomplete lines, left by a kill or a full disk, are ignored. Several
    processes may append to one manifest. Shards add lines with the keys shard, made_by and outcome (jobs/shards.py).

    made_by   all settings that determine the outputs, as plain values: checkpoint, seed, …
    entries   the valid lines by name
    shards    the lines of the shards that have ended, in the order in which they ended
    Raises UserError when the file exists and cannot be read.
    """

    def __init__(self, folder: Path, made_by: dict):
        self.folder, self.path, self.made_by = folder, folder / "manifest.jsonl", made_by
        self.entries: dict[str, dict] = {}
        self.shards: dict[str, dict] = {}
        self.load()

    def load(self) -> None:
        """Read all lines, including those that other processes have appended since the last call."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.exists() else ""
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from error
        for line in text.splitlines():
            with suppress(ValueError, TypeError, KeyError):
                self._register(json.loads(line))

    def covers(self, name: str, checksum: str) -> bool:
        """Whether the outputs of an input are complete and equal to what this run would write."""
        entry = self.entries.get(name)
        if entry is None or entry.get("input") != checksum or entry.get("made_by") != self.made_by:
            return False
        outputs = entry.get("outputs")
        if not isinstance(outputs, dict) or not outputs:
            return False
        return all(
            (self.folder / output).is_file() and (self.folder / output).stat().st_size == size
            for output, size in outputs.items()
        )

    def result(self, name: str) -> FileResult | None:
        """The result of an input that is finished under these settings; None if there is none."""
        entry = self.entries.get(name)
        if entry is None or entry.get("made_by") != self.made_by:
            return None
        values = {field: entry.get(field) for field in FileResult._fields}
        scores = values["scores"] and {key: float(value) for key, value in values["scores"].items()}
        return FileResult(**values | {"scores": scores})

    def add(self, name: str, checksum: str, outputs: Sequence[Path], result: FileResult) -> None:
        """Record that `outputs`, paths inside the folder, are complete. Raises UserError when it cannot be written."""
        sizes = {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in outputs}
        # JSON has neither NaN nor infinity: they are written as strings, which float() accepts.
        scores = result.scores and {k: v if math.isfinite(v) else str(v) for k, v in result.scores.items()}
        entry = {"name": name, "input": checksum, "made_by": self.made_by, "outputs": sizes}
        self._append(entry | result._asdict() | {"scores": scores})

    def add_shard(self, shard: str, outcome: dict | None) -> None:
        """Record the outcome of a shard, or None at its start. Raises UserError when it cannot be written."""
        self._append({"shard": shard, "made_by": self.made_by, "outcome": outcome})

    def _register(self, entry: dict) -> None:
        if "shard" not in entry:
            self.entries[entry["name"]] = entry
        elif entry["shard"] == ALL_SHARDS:
            self.shards.clear()
        else:
            self.shards.pop(entry["shard"], None)
            if entry["outcome"] is not None:
                self.shards[entry["shard"]] = entry

    def _append(self, entry: dict) -> None:
        line = json.dumps(entry, allow_nan=False)
        try:
            with open(self.path, "ab+") as file:
                with suppress(OSError):  # on file systems without locks only one process at a time may append
                    fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
                incomplete = file.read(1) not in (b"", b"\n")
                file.write(b"\n" * incomplete + line.encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._register(json.loads(line))
