"""A network at work on whole photographs: device, precision and tiles, uint8 in and uint8 out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from utils.memory import available_memory
from utils.pixels import to_tensor, to_uint8
from utils.processor import cpu_flags
from utils.windows import windows

HALO, HALO_WITHOUT_PRIOR = 32, 64
"""Pixels beyond a tile that its pass also sees, where a network does not say how far it can reach; multiples of 8, as
it may downsample three times. Tiles then differ from the whole by at most one level in 255, and else not at all."""
SLENDER = 32
"""Pixels; on CPUs narrower pictures are computed in float32. With AMX, the bfloat16 convolutions of stride 2 in torch
2.15 return garbage for maps of one or two columns."""
SMALLEST_TILE, LARGEST_TILE = 64, {"cpu": 512, "cuda": 2048}  # on CPUs larger ones leave the cache
CHANNELS_HELD = 12
"""Peak memory of a pass in feature maps of the network's width: 8 to 11 measured, at width 8 to 32."""


class Tiler:
    """A network on images of any size, in memory that does not grow with the image.

    network  has `width`, its channels at full resolution
    device   "cpu", "cuda", …; None picks CUDA when there is one
    tile     side in pixels of the squares that pass through the network, a multiple of `step`; None takes what fits
             well into the free memory. Where even that is too much it is halved, down to 64.
    bf16     compute in bfloat16; None does where the hardware multiplies in it
    halo     pixels beyond a tile that its pass also sees, a multiple of `step`
    step     what the network's sides are a multiple of inside
    stride   how many pixels a side stand for one of its largest feature maps
    Raises ValueError for a tile that does not fit the network, RuntimeError for a device that is not here.
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
            raise ValueError(f"a tile's side must be a multiple of {step}, not {tile}")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self.device.type == "meta":
            raise RuntimeError("meta: a device that computes nothing")
        try:
            self.bf16 = has_bf16(self.device) if bf16 is None else bf16
            self.network = network.eval().to(self.device, memory_format=torch.channels_last)
        except AssertionError as error:  # what a torch that was built without CUDA says
            raise RuntimeError(f"{self.device}: {error}") from error
        self.halo, self._step, self._stride = halo, step, stride
        self.tile = tile or self._fitting_tile()

    def tiled(
        self,
        size: tuple[int, int],
        function: Callable[..., Tensor],
        inputs: Callable[[tuple[slice, slice]], tuple[Tensor, ...]],
    ) -> np.ndarray:
        """Run `function` over windows of an image of `size` and put their cores together as uint8.

        Raises FloatingPointError for an output that is not finite.
        """
        while True:
            try:
                return self._in_tiles(size, function, inputs)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.tile <= SMALLEST_TILE:
                    raise MemoryError(f"not enough memory for a tile of {self.tile} pixels") from error
            self.tile = max(self.tile // 2 // self._step * self._step, SMALLEST_TILE)
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
        bf16 = self.bf16 and (self.device.type != "cpu" or min(moved[0].shape[-2:]) >= SLENDER)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return function(*moved)

    def _fitting_tile(self) -> int:
        """The largest power of two whose pass takes at most a quarter of the free memory."""
        cuda = self.device.type == "cuda"
        free = torch.cuda.mem_get_info(self.device)[0] if cuda else available_memory()
        pixel = CHANNELS_HELD * self.network.width * (2 if self.bf16 else 4) / self._stride**2
        tile = LARGEST_TILE["cuda" if cuda else "cpu"] * self._stride
        while tile > SMALLEST_TILE and (tile + 2 * self.halo) ** 2 * pixel > free / 4:
            tile //= 2
        return tile


class Engine(Tiler):
    """Halftones and restores with a trained ResHalf.

    seed     of the encoder's noise, where it has any
    fast     take the error-diffused start of the halftone search instead of the search
    rounds   how many times the search queries the network's proxy for a gradient: more restores better and takes
             longer, 0 searches for the eye alone; None as trained
    best     query the decoder itself instead of the proxy, twelve times unless `rounds` says otherwise: slow
    int8     restore in 8-bit integers; None does where that is quickest, unless `bf16` says otherwise
    The rest as `Tiler`. Raises ValueError for a tile that does not fit, `fast` where nothing is searched, `rounds` or
    `best` where there is no proxy or, with `fast`, no search; RuntimeError for a device that is not here.
    """

    def __init__(
        self,
        network: nn.Module,
        device: str | None = None,
        tile: int | None = None,
        bf16: bool | None = None,
        seed: int = 0,
        fast: bool = False,
        rounds: int | None = None,
        best: bool = False,
        int8: bool | None = None,
    ):
        halo = HALO if network.prior else HALO_WITHOUT_PRIOR
        if network.reach is not None:
            halo = -(-network.reach // 8) * 8
        super().__init__(network, device, tile, bf16, halo=halo, step=8, stride=network.decoder.stride)
        self.seed = seed
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"a seed has 64 bits, not {seed}")
        if rounds is not None and rounds < 0:
            raise ValueError(f"rounds must be 0 or more, not {rounds}")
        if (best or rounds is not None) and network.proxy is None:
            raise ValueError("this checkpoint has no proxy: it takes neither rounds nor best")
        if best and not network.can_query_decoder:
            raise ValueError("best queries the decoder itself, which only a subpixel decoder allows")
        self.rounds, self.best, self._start = rounds, best, None
        if int8 is None:
            int8 = bf16 is None and network.is_quickest_as_int8()
        self._int8 = int8
        if fast:
            if network.prior is None or network.prior.halftone != "direct_binary_search":
                raise ValueError("this checkpoint's halftones are not searched: fast would change nothing")
            if best or rounds is not None:
                raise ValueError("fast does not search: it takes neither rounds nor best")
            self._start = replace(network.prior, halftone="error_diffusion", guidance=0.0)

    @property
    def precision(self) -> str:
        """What photographs are restored in."""
        return "8-bit integers" if self._int8 else "bfloat16" if self.bf16 else "float32"

    def halftone(self, bgr: np.ndarray) -> np.ndarray:
        """Photograph (H, W, 3) BGR uint8 → halftone (H, W) uint8 in {0, 255}, a function of photograph and seed.

        Raises MemoryError when not even the smallest tile fits, FloatingPointError where broken weights overflow.
        """
        if self.network.prior is None:
            noise = self.network.guide(bgr, self.seed)
            return self.tiled(bgr.shape[:2], self._encode, lambda at: (to_tensor(bgr[at]), noise[(..., *at)]))
        if self._start:
            classical = self._start.classical_halftone(bgr)
        else:
            with memory_errors("the halftone search"):
                classical = self.network.prior_halftone(bgr, self.rounds, self.best)
        if self.network.encoder is None:
            return classical
        return self.tiled(bgr.shape[:2], self._encode, lambda at: (to_tensor(bgr[at]), to_tensor(classical[at])))

    def restore(self, halftone: np.ndarray) -> np.ndarray:
        """Halftone (H, W) uint8 in {0, 255} → photograph (H, W, 3) BGR uint8, also of one cropped, mirrored or turned.

        Raises MemoryError and FloatingPointError as `halftone` does.
        """
        halftone, undo = self.network.realigned(halftone)
        decode = self.network.decode
        if self._int8:
            with memory_errors("the network"):
                decode = partial(decode, decoder=self.network.as_int8(self.network.decoder))
        return undo(self.tiled(halftone.shape, decode, lambda at: (to_tensor(halftone[at]),)))

    def _encode(self, colour: Tensor, guide: Tensor) -> Tensor:
        return self.network.encode(colour, guide=guide).halftone


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory is what lacked: torch has a type of its own for that of a GPU only."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(words in str(error) for words in ("can't allocate memory", "could not create a primitive"))


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Raise MemoryError instead of the many kinds of error that a lack of memory ends in."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(f"not enough memory for {what}") from error
        raise


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (on a CPU: AVX-512 BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool({"avx512_bf16", "amx_bf16"} & cpu_flags())
