"""ResHalf from Python: a photograph becomes a halftone and comes back.

codec = ResHalfCodec()
halftone = codec.halftone(photograph)
photograph = codec.restore(halftone)
"""

from pathlib import Path

import cv2
import numpy as np

from model.build import build_network
from model.reshalf import ResHalf
from utils.checkpoint import load_network
from utils.engine import Engine
from utils.errors import UserError

SHIPPED = Path(__file__).parent / "checkpoints/model_best.pth.tar"


class ResHalfCodec(Engine):
    """A trained ResHalf at work on arrays of any size, in tiles, in memory that does not grow with the image.

    checkpoint  file of the weights; None takes the shipped ones
    device      "cpu", "cuda", "cuda:1", …; None takes CUDA where there is one
    fast        error diffusion instead of the halftone search: quicker, less colour
    rounds      how often the search asks a small decoder what would be missed: more restores better and takes longer,
                0 searches for the eye alone; None as trained
    best        ask the decoder itself, twelve times unless `rounds` says otherwise: restores best, takes long
    seed        of the encoder's noise, where it has any
    tile        pixels a side that pass through the network at once, a multiple of 8; None goes by the free memory
    Raises UserError in one line for a checkpoint that is none or holds another network, for a device that is not here,
    a tile that does not fit, `fast` where nothing is searched and `rounds` or `best` where nothing can be asked.
    """

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        *,
        fast: bool = False,
        rounds: int | None = None,
        best: bool = False,
        seed: int = 0,
        tile: int | None = None,
    ):
        network = load_reshalf(SHIPPED if checkpoint is None else checkpoint)
        try:
            super().__init__(network, device, tile, seed=seed, fast=fast, rounds=rounds, best=best)
        except (ValueError, RuntimeError) as error:  # RuntimeError: a device that is not here
            raise UserError(str(error).splitlines()[0]) from error

    def halftone(self, bgr: np.ndarray) -> np.ndarray:
        """Dither a photograph (H, W, 3) uint8, BGR as OpenCV reads it → halftone (H, W) uint8: 0 black, 255 white.

        The same photograph and seed give the same halftone. Raises ValueError for any other array, MemoryError when
        not even the smallest tile fits.
        """
        if bgr.dtype != np.uint8 or bgr.ndim != 3 or bgr.shape[2] != 3 or not bgr.size:
            raise ValueError(f"a photograph must be uint8 (H, W, 3), not {bgr.dtype} {bgr.shape}")
        return super().halftone(bgr)

    def restore(self, halftone: np.ndarray) -> np.ndarray:
        """Restore the photograph (H, W, 3) uint8, BGR, from a halftone (H, W) uint8 of 0 and 255.

        Raises ValueError for any other array, MemoryError when not even the smallest tile fits.
        """
        if halftone.dtype != np.uint8 or halftone.ndim != 2 or not halftone.size:
            raise ValueError(f"a halftone must be uint8 (H, W), not {halftone.dtype} {halftone.shape}")
        if cv2.calcHist([halftone], [0], None, [256], [0, 256])[1:255].any():
            raise ValueError("a halftone must hold 0 and 255 only")
        return super().restore(halftone)


def load_reshalf(checkpoint: str | Path) -> ResHalf:
    """The ResHalf in a checkpoint, float32, on the CPU. Raises UserError naming the file and what is wrong with it."""
    network = load_network(checkpoint, build_network)
    if not isinstance(network, ResHalf):
        raise UserError(f"{checkpoint}: holds {type(network).__name__}, which makes no halftones; ResHalf is needed")
    return network
