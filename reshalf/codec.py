"""A trained ResHalf on whole images: uint8 arrays in, uint8 arrays out."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from torch import Tensor
from torch.nn.functional import pad

from images.pixels import black_and_white
from model.load import load_network
from model.noise import noise_channel
from model.reshalf import ResHalf
from model.tiler import Tiler, memory_errors, threads_for
from reshalf.repair import Repaired, repair_halftone
from utils.checks import check_pixels
from utils.errors import UserError
from utils.pixels import to_tensor

SHIPPED = Path(__file__).parents[1] / "checkpoints/model_best.pth.tar"
PAPER = SHIPPED.with_name("model_paper.pth.tar")
"""Checkpoint of the paper's network, whose encoder is a trained hourglass."""
HALO, HALO_WITHOUT_PRIOR = 32, 64
"""Pixels of context around a tile for hourglasses, whose receptive field is larger; multiples of 8, since an hourglass
halves the resolution three times. Tiles differ from the whole image by at most one level of 255."""

Precision = Literal["int8", "bfloat16", "float32"]


class ResHalfCodec(Tiler):
    """Halftones and restores images of any size in tiles; the network's memory does not depend on the image size.

    checkpoint  path of a checkpoint, or the network itself; None: the shipped checkpoint
    device      "cpu", "cuda", "cuda:1", …; None: CUDA if available
    fast        error diffusion instead of the halftone search: faster, with less colour
    rounds      number of gradients of the restoration error that the search takes from the proxy, a small decoder: more
                rounds restore better and take longer, 0 optimises appearance only; None: as trained
    best        slow: the search queries the decoder itself, in 8 rounds by default, after 20 of the proxy, and the
                restoration is the mean over the halftone and its three mirror images
    seed        of the encoder's noise, for networks with a noise channel
    tile        side of the square tiles in pixels, a multiple of 8; None: chosen by the free memory
    precision   of the restoration, "int8", "bfloat16" or "float32"; None: the fastest for the processor
    Raises UserError, one line, for an invalid checkpoint, an unavailable device, a tile that is no multiple of 8, a
    seed of more than 64 bits, `fast` without a halftone search, and `rounds` or `best` without a proxy.
    """

    def __init__(
        self,
        checkpoint: str | Path | ResHalf | None = None,
        device: str | None = None,
        *,
        fast: bool = False,
        rounds: int | None = None,
        best: bool = False,
        seed: int = 0,
        tile: int | None = None,
        precision: Precision | None = None,
    ):
        network = checkpoint if isinstance(checkpoint, ResHalf) else load_reshalf(checkpoint or SHIPPED)
        _check_options(network, fast, rounds, best, seed)
        halo = HALO if network.prior else HALO_WITHOUT_PRIOR
        if network.receptive_radius is not None:
            halo = network.receptive_radius
        bf16 = None if precision in (None, "int8") else precision == "bfloat16"
        super().__init__(network, device, tile, bf16, halo=halo, step=8, stride=network.decoder.stride)
        self.seed, self.rounds, self.best = seed, rounds, best
        self._int8 = network.is_quickest_as_int8() if precision is None else precision == "int8"
        self._diffused = replace(network.prior, halftone="error_diffusion", guidance=0.0) if fast else None

    @property
    def precision(self) -> Precision:
        """The precision of the restoration."""
        return "int8" if self._int8 else "bfloat16" if self.bf16 else "float32"

    def halftone(self, bgr: np.ndarray) -> np.ndarray:
        """Halftone a photograph, (H, W, 3) uint8 BGR as read by OpenCV → (H, W) uint8, 0 black, 255 white.

        Deterministic for a photograph and a seed. Raises ValueError for any other array, MemoryError where the smallest
        tile does not fit, FloatingPointError where the network's output is not finite.
        """
        check_pixels("a photograph", bgr, 3)
        with threads_for(bgr[..., 0].size):
            return self._halftone(bgr)

    def _halftone(self, bgr: np.ndarray) -> np.ndarray:
        if self.network.prior is None:
            noise = noise_channel(self.network.noise, 1, *bgr.shape[:2], self.seed)  # once, so that tiles agree
            return self.tiled(bgr.shape[:2], self._encode, lambda at: (to_tensor(bgr[at]), noise[(..., *at)]))
        if self._diffused:
            classical = self._diffused.classical_halftone(bgr)
        else:
            with memory_errors("the halftone search"):
                classical = self.network.prior_halftone(bgr, self.rounds, self.best)
        if self.network.encoder is None:
            return classical
        return self.tiled(bgr.shape[:2], self._encode, lambda at: (to_tensor(bgr[at]), to_tensor(classical[at])))

    def repair(self, levels: np.ndarray, invert: bool = False, force: bool = False) -> Repaired:
        """The halftone in an image that was changed on its way here, for `restore`; see reshalf.repair.

        levels  uint8 or bool, (H, W) or BGR (H, W, 3): inverted, enlarged by whole factors, with other levels, …
        invert  swap black and white; otherwise they are swapped where the pilot is found inverted
        force   accept images that are not halftones
        Returns the halftone, (H, W) uint8 in {0, 255}, what was undone and a warning. Raises ValueError for other
        arrays and for images that are not halftones.
        """
        return repair_halftone(levels, self.has_pilot, invert, force)

    @property
    def has_pilot(self) -> bool:
        """Whether the network's halftones carry the pilot."""
        return self.network.prior is not None and self.network.prior.pilot > 0

    def restore(self, halftone: np.ndarray) -> np.ndarray:
        """Restore a photograph, (H, W, 3) uint8 BGR, from a halftone, (H, W) uint8 in {0, 255}.

        Halftones with a pilot may be cropped, mirrored and turned by multiples of 90°; the restoration is aligned with
        the given halftone. Raises ValueError for any other array, MemoryError and FloatingPointError as `halftone`.
        """
        check_pixels("a halftone", halftone, 1)
        if cv2.calcHist([halftone], [0], None, [256], [0, 256])[1:255].any():
            raise ValueError("a halftone must hold 0 and 255 only")
        aligned, undo = self.network.align_to_pilot(halftone)
        decode = self.network.decode
        if self._int8:
            with memory_errors("the network"):
                decode = partial(decode, decoder=self.network.as_int8(self.network.decoder))
        if self.best:
            decode = partial(mirrored_mean, decode)
        with threads_for(halftone.size):
            return undo(self.tiled(aligned.shape, decode, lambda at: (to_tensor(aligned[at]),)))

    def restore_uncertain(self, levels: np.ndarray) -> np.ndarray:
        """Restore a photograph, (H, W, 3) uint8 BGR, from a halftone some of whose pixels are uncertain.

        levels  (H, W) uint8: 255 times the probability that a pixel is white
        With many such pixels this restores better than `restore` of the more probable levels. The network runs in
        floating point, since its integer version accepts black and white only. Raises as `restore` does.
        """
        check_pixels("a halftone", levels, 1)
        likely = black_and_white(levels)
        aligned, undo = self.network.align_to_pilot(likely, levels)
        decode = partial(mirrored_mean, self.network.decode) if self.best else self.network.decode
        with threads_for(levels.size):
            return undo(self.tiled(aligned.shape, decode, lambda at: (to_tensor(aligned[at]),)))

    def _encode(self, colour: Tensor, condition: Tensor) -> Tensor:
        return self.network.encode(colour, condition=condition).halftone


def mirrored_mean(decode: Callable[[Tensor], Tensor], halftone: Tensor) -> Tensor:
    """Mean of `decode` over a halftone, (N, 1, H, W), and its mirror images, each mirrored back: (N, 3, H, W).

    An even side is extended by a row before it is mirrored, which preserves the parity of the pixels and with it the
    phase of the carriers.
    """
    height, width = halftone.shape[-2:]
    total = decode(halftone)
    for axes in ((2,), (3,), (2, 3)):
        bottom, right = (axis in axes and side % 2 == 0 for axis, side in ((2, height), (3, width)))
        extended = pad(
            halftone, (0, int(right), 0, int(bottom)), mode="reflect" if min(height, width) > 1 else "replicate"
        )
        total = total + decode(extended.flip(axes)).flip(axes)[..., :height, :width]
    return total / 4


def load_reshalf(checkpoint: str | Path) -> ResHalf:
    """Load a ResHalf from a checkpoint: float32, on the CPU. Raises UserError with the path and the reason."""
    network = load_network(checkpoint)
    if not isinstance(network, ResHalf):
        raise UserError(f"{checkpoint}: is a checkpoint of {type(network).__name__}; ResHalf is needed")
    return network


def _check_options(network: ResHalf, fast: bool, rounds: int | None, best: bool, seed: int) -> None:
    """Raise UserError for options that exclude each other or that the network does not support."""
    if not -(2**63) <= seed < 2**64:
        raise UserError(f"the seed must fit into 64 bits, not {seed}")
    if rounds is not None and rounds < 0:
        raise UserError(f"rounds must be 0 or more, not {rounds}")
    if (best or rounds is not None) and network.proxy is None:
        raise UserError("this checkpoint has no proxy: rounds and best are not available")
    if best and not network.can_query_decoder:
        raise UserError("best needs a subpixel decoder")
    if fast and (network.prior is None or network.prior.halftone != "direct_binary_search"):
        raise UserError("this checkpoint has no halftone search: fast is not available")
    if fast and (best or rounds is not None):
        raise UserError("fast excludes rounds and best: it does not search")
