"""Run a network on images of any size: device, precision, tiles."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import numba
import numpy as np
import torch
from torch import Tensor, nn

from utils.errors import UserError
from utils.hardware import available_memory, has_bf16
from utils.pixels import to_uint8
from utils.tiling import windows

MIN_BF16_SIDE = 32
"""Pixels; on CPUs, inputs with a shorter side are computed in float32: with AMX, bfloat16 convolutions of stride 2 in
torch 2.15 return wrong values for maps of one or two columns."""
MIN_TILE, MAX_TILE = 64, {"cpu": 512, "cuda": 2048}  # on CPUs larger tiles exceed the cache
PIXELS_PER_THREAD = 1 << 14
"""Up to 128² pixels a second thread gains nothing on an idle machine, with the shipped checkpoint."""
_LOCK, _OUTSIDE = Lock(), []  # torch's number of threads outside `threads_for`, once for every call inside it
CHANNELS_HELD = 12
"""Peak memory of a pass, in feature maps of the network's width: 8 to 11 measured, at width 8 to 32."""


class Tiler:
    """Runs a network on images of any size; its memory does not depend on the image size.

    network  has `width`, its number of channels at full resolution
    device   "cpu", "cuda", …; None: CUDA if available
    tile     side of the square tiles in pixels, a multiple of `step`; None: chosen by the free memory. Halved when out
             of memory, down to 64.
    bf16     compute in bfloat16; None: where the hardware supports it
    halo     pixels of context around a tile, rounded up to a multiple of `step`
    step     required divisor of the tiles' sides
    stride   stride of the network's finest feature map, in pixels
    Raises UserError for a tile that is no multiple of `step` and for a device that is not available.
    """

    def __init__(
        self,
        network: nn.Module,
        device: str | None,
        tile: int | None,
        bf16: bool | None,
        *,
        halo: int,
        step: int,
        stride: int = 1,
    ):
        if tile is not None and (tile < step or tile % step):
            raise UserError(f"a tile's side must be a multiple of {step}, not {tile}")
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            if self.device.type == "meta":
                raise RuntimeError("meta: this device has no data")
            self.bf16 = has_bf16(self.device) if bf16 is None else bf16
            self.network = network.eval().to(self.device, memory_format=torch.channels_last)
        except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
            reason = str(error).splitlines()[0]
            raise UserError(f"device {device}: {reason}") from error
        self.halo, self._step, self._stride = -(-halo // step) * step, step, stride
        self.tile = tile or self._fitting_tile()

    def tiled(
        self,
        size: tuple[int, int],
        function: Callable[..., Tensor],
        inputs: Callable[[tuple[slice, slice]], tuple[Tensor, ...]],
    ) -> np.ndarray:
        """Run `function` on windows of an image of `size` (H, W) and assemble their cores: (H, W, C) or (H, W) uint8.

        inputs  returns the arguments of `function` for a window (rows, columns)
        Raises FloatingPointError for an output that is not finite, MemoryError where the smallest tile does not fit.
        """
        while True:
            try:
                return self._in_tiles(size, function, inputs)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.tile <= MIN_TILE:
                    raise MemoryError(f"not enough memory for a tile of {self.tile} pixels") from error
            self.tile = max(self.tile // 2 // self._step * self._step, MIN_TILE)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _in_tiles(self, size, function, inputs) -> np.ndarray:
        output = None
        for core, window in windows(*size, self.tile, self.halo):
            result = self._run(function, *inputs(window))
            if not result.isfinite().all():
                raise FloatingPointError("the network's output is not finite: its weights are broken")
            top, left = core[0].start - window[0].start, core[1].start - window[1].start
            height, width = core[0].stop - core[0].start, core[1].stop - core[1].start
            pixels = to_uint8(result[..., top : top + height, left : left + width])
            if output is None:
                output = np.empty((*size, *pixels.shape[2:]), np.uint8)
            output[core] = pixels
        return output

    def _run(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        moved = [x.to(self.device, memory_format=torch.channels_last) for x in inputs]
        bf16 = self.bf16 and (self.device.type != "cpu" or min(moved[0].shape[-2:]) >= MIN_BF16_SIDE)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return function(*moved)

    def _fitting_tile(self) -> int:
        """The largest power of two whose estimated memory is at most a quarter of the free memory."""
        cuda = self.device.type == "cuda"
        free = torch.cuda.mem_get_info(self.device)[0] if cuda else available_memory()
        pixel = CHANNELS_HELD * self.network.width * (2 if self.bf16 else 4) / self._stride**2
        tile = MAX_TILE["cuda" if cuda else "cpu"] * self._stride
        while tile > MIN_TILE and (tile + 2 * self.halo) ** 2 * pixel > free / 4:
            tile //= 2
        return tile


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error means out of memory; on CPUs torch raises a RuntimeError for it."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(words in str(error) for words in ("can't allocate memory", "could not create a primitive"))


@contextmanager
def threads_for(pixels: int) -> Iterator[None]:
    """At most one thread of numba and torch for each PIXELS_PER_THREAD pixels, for calls of this thread.

    The threads of a small image wait for each other longer than they compute, above all beside other processes.
    A thread that starts meanwhile inherits torch's number, so the number outside is that of the first one inside.
    """
    most, numba_threads = -(-pixels // PIXELS_PER_THREAD), numba.get_num_threads()
    with _LOCK:
        torch_threads = _OUTSIDE[0] if _OUTSIDE else torch.get_num_threads()
        _OUTSIDE.append(torch_threads)
    numba.set_num_threads(min(numba_threads, most))
    torch.set_num_threads(min(torch_threads, most))
    try:
        yield
    finally:
        numba.set_num_threads(numba_threads)
        torch.set_num_threads(torch_threads)
        with _LOCK:
            _OUTSIDE.pop()


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Convert every kind of out-of-memory error to MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(f"not enough memory for {what}") from error
        raise
