"""Temporary folders for results of the page."""

import shutil
import time
import uuid
from pathlib import Path

LIFETIME = 3600
"""Seconds after which results and uploads are deleted."""


class Scratch:
    """A folder with one subfolder for each result; `new` deletes those older than LIFETIME."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def new(self) -> Path:
        """Create an empty folder; returns its path."""
        for old in self.folder.iterdir():
            if time.time() - old.stat().st_mtime > LIFETIME:
                shutil.rmtree(old, ignore_errors=True)
        fresh = self.folder / uuid.uuid4().hex
        fresh.mkdir()
        return fresh
