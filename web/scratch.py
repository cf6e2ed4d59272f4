"""Where results wait to be looked at and downloaded."""

import shutil
import time
import uuid
from pathlib import Path

KEPT = 3600
"""Seconds for which a result can be downloaded; also for what gradio keeps of uploads."""


class Scratch:
    """A folder of folders, one for each result; those older than KEPT go when a new one is asked for."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def new(self) -> Path:
        """A fresh, empty folder."""
        for old in self.folder.iterdir():
            if time.time() - old.stat().st_mtime > KEPT:
                shutil.rmtree(old, ignore_errors=True)
        fresh = self.folder / uuid.uuid4().hex
        fresh.mkdir()
        return fresh
