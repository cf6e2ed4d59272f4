"""Photographs with their reference halftones, from the original JSON lists: uint8, in memory or read from the files."""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset.prefetch import prefetch
from halftone.threads import available_cores, host_thread_count
from images.files import read_halftone, read_image
from utils.errors import UserError
from utils.files import atomic_write, read_json
from utils.hardware import available_memory
from utils.progress import progress

MEMORY_SHARE = 0.5
"""Largest share of the free memory that the photographs of all processes of a host take."""

VERIFIED = 16
"""Photographs of a set that `verify` reads."""


class Sample(NamedTuple):
    """One photograph: `colour` uint8 (3, H, W) BGR, `reference` its halftone, uint8 {0, 255} (H, W)."""

    colour: np.ndarray
    reference: np.ndarray


class PhotoSet:
    """M photographs of one size (H, W) with their reference halftones and, after `add_prior`, classical halftones.

    Built by `from_lists` or `from_arrays`. Halftones are stored as packed bits.
    """

    def __init__(self, name: str, files: list[tuple[Path, Path]], colour: np.ndarray | None, bits: np.ndarray | None):
        self.name = name
        self._files = files
        self._colour = colour  # uint8 (M, 3, H, W)
        self._reference = bits  # packed (M, H, W / 8)
        self._prior: np.ndarray | None = None  # packed (2, M, H, W / 8): of the photographs and of their mirror images
        self.size = colour.shape[2:] if colour is not None else self.sample(0).reference.shape

    @classmethod
    def from_lists(cls, data_dir: str | Path, list_file: str | Path, split: str) -> "PhotoSet":
        """The photographs that `list_file` lists under `split` ("train" or "val").

        The list is {"train": {"inputs": [photographs], "labels": [halftones]}, "val": ...}. Its path and its entries
        are relative to `data_dir`; entries may begin with Data/ or ./Data/, meaning `data_dir`, as in the released
        lists. Only the first photograph is read. Raises UserError for a missing or malformed list.
        """
        data_dir, path = Path(data_dir), Path(data_dir, list_file)
        try:
            entries = read_json(path)
        except OSError as error:
            remedy = "" if path.exists() else "; python -m dataset.prepare makes it from a folder of photographs"
            raise UserError(f"{path}: cannot be read: {error.strerror}{remedy}") from error
        except ValueError as error:
            raise UserError(f"{path}: not a JSON list: {error}") from error
        columns = entries.get(split) if isinstance(entries, dict) else None
        if not isinstance(columns, dict) or not all(_is_strings(columns.get(key)) for key in ("inputs", "labels")):
            raise UserError(f'{path}: "{split}" must hold "inputs" and "labels", each a list of paths')
        inputs, labels = columns["inputs"], columns["labels"]
        if len(inputs) != len(labels):
            raise UserError(f'{path}: "{split}" has {len(inputs)} inputs and {len(labels)} labels')
        if not inputs:
            raise UserError(f'{path}: "{split}" is empty')
        strip = not (data_dir / "Data").is_dir()
        pairs = zip(_resolved(data_dir, inputs, strip), _resolved(data_dir, labels, strip), strict=True)
        return cls(f"{path.stem}, {split}", list(pairs), None, None)

    @classmethod
    def from_arrays(cls, colour: np.ndarray, reference: np.ndarray) -> "PhotoSet":
        """From `colour` uint8 (M, 3, H, W) BGR and `reference` uint8 {0, 255} (M, 1, H, W). ValueError for others."""
        if colour.shape[1] != 3 or reference.shape != (len(colour), 1, *colour.shape[2:]) or not len(colour):
            raise ValueError(f"(M, 3, H, W) and (M, 1, H, W) are needed, not {colour.shape} and {reference.shape}")
        if colour.dtype != np.uint8 or reference.dtype != np.uint8:
            raise ValueError(f"uint8 is needed, not {colour.dtype} and {reference.dtype}")
        return cls("arrays", [], colour, np.packbits(reference[:, 0] > 127, axis=-1))

    def __len__(self) -> int:
        return len(self._files) if self._colour is None else len(self._colour)

    @property
    def in_memory(self) -> bool:
        return self._colour is not None

    def sample(self, index: int) -> Sample:
        """Photograph `index`. Raises UserError naming the file when it is unreadable or its size is not the first's."""
        if self._colour is not None and self._reference is not None:
            return Sample(self._colour[index], self._unpacked(self._reference[index]))
        photo, halftone = self._files[index]
        bgr, reference = read_image(photo).bgr, read_halftone(halftone)
        if bgr.shape[:2] != reference.shape:
            raise UserError(f"{halftone}: {_size(reference)}, but its photograph {photo} is {_size(bgr)}")
        if index and reference.shape != self.size:
            raise UserError(f"{photo}: {_size(bgr)}, but {self._files[0][0]} is {self.size[1]} x {self.size[0]}")
        return Sample(np.ascontiguousarray(bgr.transpose(2, 0, 1)), reference)

    def verify(self) -> None:
        """Check that every file exists, and read VERIFIED photographs spread over the set.

        Raises UserError naming the first bad file.
        """
        for path in (path for pair in self._files for path in pair):
            if not path.is_file():
                raise UserError(f"{path}: no such file, listed in {self.name}")
        for index in sorted(set(np.linspace(0, len(self) - 1, VERIFIED).astype(int))):
            self.sample(int(index))

    def load(self, memory_limit: int | None = None) -> None:
        """Read all photographs into memory if they fit into `memory_limit` bytes; otherwise `sample` reads the files.

        The default limit is MEMORY_SHARE of the free memory, divided by the number of processes on the host. Raises
        UserError naming a bad file.
        """
        if self.in_memory:
            return
        if memory_limit is None:
            memory_limit = int(available_memory() * MEMORY_SHARE / int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        height, width = self.size
        if len(self) * height * (3 * width + width / 8) > memory_limit:
            return
        colour = np.empty((len(self), 3, height, width), np.uint8)
        bits = np.empty((len(self), height, (width + 7) // 8), np.uint8)

        def read(index: int) -> None:
            colour[index], reference = self.sample(index)
            bits[index] = np.packbits(reference > 127, axis=-1)

        threads = available_cores()
        jobs = (partial(read, index) for index in range(len(self)))
        for _ in _progress(prefetch(jobs, threads, 4 * threads), len(self), f"reading {self.name}"):
            pass
        self._colour, self._reference = colour, bits

    def add_prior(
        self, function: Callable[[np.ndarray], np.ndarray], *, cache: str | Path | None = None, key: str = ""
    ) -> None:
        """Compute the encoder's classical halftones: `function`, uint8 (H, W, 3) BGR → (H, W) in {0, 255}.

        It is applied to each photograph and to its mirror image: a prior's dots carry colour in the parity of their
        pixels, so a mirrored photograph needs its own halftone and a crop must start at an even offset.

        `function` is called by several threads at once, `host_thread_count` of them: of several training processes, one
        makes the cache and the others wait for it.

        cache  file that stores the halftones; it is reused when the photographs, `key` and the halftones of the first
               photograph are the same
        key    the function's parameters
        """
        self.load()
        fingerprint = np.frombuffer(f"{key} {self._identity()}".encode(), np.uint8)
        first = self._halftone_pair(function, 0)
        if cache is not None and Path(cache).is_file():
            try:
                with np.load(cache, allow_pickle=False) as stored:
                    same = np.array_equal(stored["fingerprint"], fingerprint)
                    if same and np.array_equal(stored["prior"][:, 0], first):
                        self._prior = stored["prior"]
                        return
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # damaged: compute again
                pass
        jobs = (partial(self._halftone_pair, function, index) for index in range(1, len(self)))
        rest = prefetch(jobs, host_thread_count())
        halftones = [first, *_progress(rest, len(self) - 1, f"halftoning {self.name}")]
        self._prior = np.stack(halftones, axis=1)
        if cache is not None:
            try:
                with atomic_write(cache) as temporary, open(temporary, "wb") as file:
                    np.savez(file, fingerprint=fingerprint, prior=self._prior)
            except OSError as error:
                raise UserError(f"{cache}: cannot be written: {error.strerror}") from error

    def _halftone_pair(self, function: Callable[[np.ndarray], np.ndarray], index: int) -> np.ndarray:
        bgr = self.sample(index).colour.transpose(1, 2, 0)
        views = (np.ascontiguousarray(bgr), np.ascontiguousarray(bgr[:, ::-1]))
        return np.stack([np.packbits(function(view) > 127, axis=-1) for view in views])

    def _identity(self) -> str:
        if self._files:
            stats = [(str(path), path.stat()) for path, _ in self._files]
            content = repr([(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]).encode()
        else:
            content = self._colour.tobytes()
        return f"{len(self)} {self.size} {zlib.crc32(content):08x}"

    def fetch(self, indices: np.ndarray, views: np.ndarray, crop: int | None = None) -> dict[str, np.ndarray]:
        """Crops of the photographs `indices` (N,), uint8: "colour" (N, 3, h, w), "reference" (N, 1, h, w), and "prior".

        views  int (N, 3): top and left of each crop, pixels, and whether the photograph is mirrored before it is cut
        crop   h and w; None: the whole photograph
        "prior" (N, 1, h, w), if there is one, is the mirror image's own halftone: mirroring it would lose the colour
        in its parity.
        """
        height, width = (crop or side for side in self.size)
        crops: dict[str, list[np.ndarray]] = {"colour": [], "reference": []}
        if self._prior is not None:
            crops["prior"] = []
        for index, (top, left, mirrored) in zip(indices.tolist(), views.tolist(), strict=True):
            rows, columns = slice(top, top + height), slice(left, left + width)
            step = -1 if mirrored else 1
            colour, reference = self.sample(index)
            crops["colour"].append(colour[:, :, ::step][:, rows, columns])
            crops["reference"].append(reference[None, :, ::step][:, rows, columns])
            if self._prior is not None:
                crops["prior"].append(self._unpacked(self._prior[mirrored, index])[None, rows, columns])
        return {name: np.stack(arrays) for name, arrays in crops.items()}

    def _unpacked(self, bits: np.ndarray) -> np.ndarray:
        return np.unpackbits(bits, axis=-1, count=self.size[1]) * np.uint8(255)


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _resolved(data_dir: Path, entries: list[str], strip: bool) -> Iterator[Path]:
    for entry in entries:
        parts = Path(entry).parts  # a leading ./ is gone
        yield data_dir.joinpath(*parts[1:]) if strip and parts[:1] == ("Data",) else data_dir / entry


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"


def _progress(items: Iterator, total: int, description: str) -> Iterator:
    return progress(items, description, total=total, unit="photo", disable=os.environ.get("RANK", "0") != "0")
