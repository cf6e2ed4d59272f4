"""A network at work on whole photographs: device, precision and tiles, uint8 in and uint8 out."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from utils.image_io import to_tensor, to_uint8

HALO = 64
"""Pixels beyond a tile that its network pass also sees; a multiple of 8, as the network downsamples three times."""


class Engine:
    """Halftones and restores with a trained network of any image size in memory that does not grow with the image.

    network  has guide(bgr, seed), encode(colour, guide=) and decode(halftone), as ResHalf does
    device   "cpu", "cuda", …; None picks CUDA when there is one
    tile     side in pixels of the squares that pass through the network, a multiple of 8
    bf16     compute in bfloat16; None does where the hardware multiplies in it
    """

    def __init__(
        self, network: nn.Module, device: str | None = None, tile: int = 1024, bf16: bool | None = None, seed: int = 0
    ):
        if tile < 8 or tile % 8:
            raise ValueError(f"a tile's side must be a multiple of 8, not {tile}")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.bf16 = has_bf16(self.device) if bf16 is None else bf16
        self.network = network.eval().to(self.device, memory_format=torch.channels_last)
        self.tile = tile
        self.seed = seed

    def halftone(self, bgr: np.ndarray) -> np.ndarray:
        """Photograph (H, W, 3) BGR uint8 → halftone (H, W) uint8 in {0, 255}, a function of photograph and seed."""
        guide = self.network.guide(bgr, self.seed)
        if self.network.encoder is None:  # then the guide is the halftone
            return to_uint8(self.network.encode(to_tensor(bgr[:1, :1]), guide=guide).halftone)
        return self._tiled(
            bgr.shape[:2],
            lambda window: (to_tensor(bgr[window]), guide[(..., *window)]),
            lambda colour, guide: self.network.encode(colour, guide=guide).halftone,
        )

    def restore(self, halftone: np.ndarray) -> np.ndarray:
        """Halftone (H, W) uint8 in {0, 255} → photograph (H, W, 3) BGR uint8."""
        return self._tiled(halftone.shape, lambda window: (to_tensor(halftone[window]),), self.network.decode)

    def _tiled(
        self,
        size: tuple[int, int],
        inputs: Callable[[tuple[slice, slice]], tuple[Tensor, ...]],
        function: Callable[..., Tensor],
    ) -> np.ndarray:
        """Run `function` over windows of an image of `size` and put their cores together as uint8."""
        output = None
        for core, window in self._windows(*size):
            result = self._run(function, *inputs(window))
            top, left = core[0].start - window[0].start, core[1].start - window[1].start
            height, width = core[0].stop - core[0].start, core[1].stop - core[1].start
            pixels = to_uint8(result[..., top : top + height, left : left + width].float().cpu())
            if output is None:
                output = np.empty((*size, *pixels.shape[2:]), np.uint8)
            output[core] = pixels
        return output

    def _windows(self, height: int, width: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
        """Pairs of (core, window): the cores tile the image, a window is its core with the halo, cut at the border."""
        for top in range(0, height, self.tile):
            for left in range(0, width, self.tile):
                bottom, right = min(top + self.tile, height), min(left + self.tile, width)
                yield (
                    (slice(top, bottom), slice(left, right)),
                    (
                        slice(max(top - HALO, 0), min(bottom + HALO, height)),
                        slice(max(left - HALO, 0), min(right + HALO, width)),
                    ),
                )

    def _run(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        moved = [x.to(self.device, memory_format=torch.channels_last) for x in inputs]
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            return function(*moved)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware (on a CPU: AVX-512 BF16 or AMX, as Linux lists them)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and bool({"avx512_bf16", "amx_bf16"} & set(cpuinfo.read_text().split()))
