"""Logs of a training run: TensorBoard, stats.jsonl, per-epoch text files, validation images."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from images.files import read_image, write_halftone, write_image
from training.validation import Images, side_by_side, three_channels
from utils.errors import UserError
from utils.files import atomic_write


class RunLog:
    """Writes into `folder`. Lines that a resumed run will write again are removed first.

    step, epoch  step and completed epochs of the resumed state: later lines are removed
    validated    False: also the validation at `step`
    """

    def __init__(self, folder: Path, step: int = 0, epoch: int = 0, validated: bool = True):
        self.folder = folder
        self._stats = folder / "stats.jsonl"
        _rewrite(self._stats, lambda lines: [line for line in lines if _keep(line, step, validated)])
        for file in folder.glob("*_per_epoch.txt"):
            _rewrite(file, lambda lines: lines[:epoch])
        self._board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def interval(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """Add a line to stats.jsonl and points to the curves train/*."""
        self._line({"step": step, "epoch": epoch, **values})
        for name, value in values.items():
            self._board.add_scalar(f"train/{name}", value, step)

    def epoch(self, number: int, terms: dict[str, float]) -> None:
        """Add the mean of each loss term to its file TERM_per_epoch.txt, whose line `number` is epoch `number`."""
        for name, value in terms.items():
            file = self.folder / f"{name}_per_epoch.txt"
            lines = len(file.read_text(encoding="utf-8").splitlines()) if file.exists() else 0
            for _ in range(lines + 1, number):  # epochs in which this term was not computed
                _append(file, "nan")
            _append(file, f"{value:.8g}")

    def validation(self, step: int, epoch: int, metrics: dict[str, float], shown: list[Images]) -> None:
        """Log the metrics; write the shown images to train_cache/ and, side by side, to TensorBoard."""
        self._line({"step": step, "epoch": epoch, "validation": metrics})
        for name, value in metrics.items():
            self._board.add_scalar(f"validation/{name}", value, step)
        for number, images in enumerate(shown):
            self.image(f"validation/{number:05d}", side_by_side(images), step)
            if "halftone" in images:
                write_halftone(self._cache("halftone", number), images["halftone"])
            if "restored" in images:
                write_image(self._cache("restored", number), three_channels(images["restored"]))

    def image(self, name: str, bgr: np.ndarray, step: int) -> None:
        """Add an image (H, W, 3) BGR uint8 to TensorBoard."""
        self._board.add_image(name, bgr[..., ::-1], step, dataformats="HWC")

    def image_file(self, name: str, file: Path, step: int) -> None:
        """Add an image file to TensorBoard."""
        self.image(name, read_image(file).bgr, step)

    def close(self) -> None:
        """Flush and close TensorBoard."""
        self._board.close()

    def _cache(self, kind: str, number: int) -> Path:
        folder = self.folder / "train_cache" / kind
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{number:05d}.png"

    def _line(self, values: dict) -> None:
        _append(self._stats, json.dumps(values))


def _append(file: Path, line: str) -> None:
    try:
        with open(file, "a", encoding="utf-8") as stream:
            stream.write(line + "\n")
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror}") from None


def _rewrite(file: Path, choose: Callable[[list[str]], list[str]]) -> None:
    if file.exists():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        with atomic_write(file) as temporary:
            temporary.write_text("".join(choose(lines)), encoding="utf-8")


def _keep(line: str, step: int, validated: bool) -> bool:
    try:
        values = json.loads(line)
        return values["step"] < step or (values["step"] == step and (validated or "validation" not in values))
    except (ValueError, KeyError):  # incomplete line of a killed run
        return False
