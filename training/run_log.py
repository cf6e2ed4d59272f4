"""Everything a training run writes to be looked at: TensorBoard, stats.jsonl, per-epoch text files, pictures."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from images.files import read_image, write_halftone, write_image
from training.validation import Images, strip, three_channels
from utils.errors import UserError
from utils.files import atomic_write


class RunLog:
    """Writes into `folder`; what a resumed run is going to write again is cut off first.

    That is what comes after `step` and after `epoch` whole epochs, and unless `validated` the validation at `step`.
    """

    def __init__(self, folder: Path, step: int = 0, epoch: int = 0, validated: bool = True):
        self.folder = folder
        self._stats = folder / "stats.jsonl"
        _rewrite(self._stats, lambda lines: [line for line in lines if _stays(line, step, validated)])
        for file in folder.glob("*_per_epoch.txt"):
            _rewrite(file, lambda lines: lines[:epoch])
        self._board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def interval(self, step: int, epoch: int, values: dict[str, float]) -> None:
        """One line of stats.jsonl and the curves under train/."""
        self._line({"step": step, "epoch": epoch, **values})
        for name, value in values.items():
            self._board.add_scalar(f"train/{name}", value, step)

    def epoch(self, terms: dict[str, float]) -> None:
        """One value per epoch and loss, each loss in a text file of its own."""
        for name, value in terms.items():
            _append(self.folder / f"{name}_per_epoch.txt", f"{value:.8g}")

    def validation(self, step: int, epoch: int, metrics: dict[str, float], shown: list[Images]) -> None:
        """Metrics as numbers, the first pictures as files and as strips."""
        self._line({"step": step, "epoch": epoch, "validation": metrics})
        for name, value in metrics.items():
            self._board.add_scalar(f"validation/{name}", value, step)
        for number, pictures in enumerate(shown):
            self.picture(f"validation/{number:05d}", strip(pictures), step)
            if "halftone" in pictures:
                write_halftone(self._cache("halftone", number), pictures["halftone"])
            if "restored" in pictures:
                write_image(self._cache("restored", number), three_channels(pictures["restored"]))

    def picture(self, name: str, bgr: np.ndarray, step: int) -> None:
        """Show a picture (H, W, 3) BGR uint8 in TensorBoard."""
        self._board.add_image(name, bgr[..., ::-1], step, dataformats="HWC")

    def picture_file(self, name: str, file: Path, step: int) -> None:
        """Show an image file in TensorBoard."""
        self.picture(name, read_image(file).bgr, step)

    def close(self) -> None:
        """Write out what TensorBoard still holds back."""
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


def _stays(line: str, step: int, validated: bool) -> bool:
    try:
        values = json.loads(line)
        return values["step"] < step or (values["step"] == step and (validated or "validation" not in values))
    except (ValueError, KeyError):  # cut short by a kill
        return False
