"""Descreening of whole scans, with a trained network or a baseline: uint8 in, uint8 out."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from torch import Tensor

from descreen.baselines import BASELINES, DEFAULT_PITCH, fft_notch
from descreen.inks import BELIEFS, append_belief
from descreen.networks import COARSE_STRIDE
from descreen.notch import notch_screens
from descreen.regions import Region, find_regions
from descreen.screen_finder import common_pitch, shrink_for
from descreen.system import Descreener
from descreen.tone import MIN_PITCH
from descreen.waves import EstimatedWaves, concat_waves
from model.tiler import Tiler, threads_for
from utils.checks import check_pixels
from utils.pixels import to_tensor

CONTEXT = 32
"""Pixels around a region that are restored with it."""

MIN_FILTERED_PITCH = 2.4
"""Pixels, for the filters without learning: finer screens appear as aliases of up to this period."""

Finder = Callable[[np.ndarray], list[Region]]
"""Scan (H, W, 3) BGR uint8 → its screened regions."""
Restorer = Callable[[np.ndarray, list[Region]], np.ndarray]
"""Scan and its screened regions → restored image, same shape and dtype."""
Filter = Callable[[np.ndarray, Region], np.ndarray]
"""The same for the scan of a region with its context, screened everywhere; the box and the mask are not used."""


class DescreenEngine(Tiler):
    """Runs a Descreener on scans of any size; arguments and errors as for `Tiler`.

    The result does not depend on the tiles, except with a scene parser, whose pooling covers a whole tile.
    """

    def __init__(
        self, network: Descreener, device: str | None = None, tile: int | None = None, bf16: bool | None = None
    ):
        options = {"halo": network.receptive_radius, "step": COARSE_STRIDE, "stride": network.stride}
        super().__init__(network, device, tile, bf16, **options)

    def restore(
        self,
        scan: np.ndarray,
        regions: list[Region] | None = None,
        *,
        coarse: bool = False,
        notch: bool = True,
        tone: bool = True,
        inks: str | None = None,
    ) -> np.ndarray:
        """Scan (H, W, 3) BGR uint8 → continuous tone, same shape and dtype; gray from a gray scan.

        regions  the screened parts of the scan, each with its screens by ink; None: detect them. The rest is
                 copied. Parts with large pitches are restored at half or quarter size
        coarse   run the coarse network only, and its notches
        notch    filter residual screen frequencies out of the restored image
        tone     correct the tones of each region with the network's ToneNet, if it has one and the pitch allows it
        inks     the kind of inks, a key of BELIEFS; None: detected for each region, with a network that knows kinds
        Raises ValueError for any other array, and for `inks` with other networks; MemoryError when the smallest tile
        does not fit.
        """
        check_pixels("a scan", scan, 3)
        regions = self.find(scan, inks) if regions is None else self.with_inks(scan, regions, inks)
        restore = partial(self._restore, coarse=coarse, notch=notch, tone=tone and not coarse)
        return apply_to_regions(partial(_restore_shrunk, restore), scan, regions)

    def find(self, scan: np.ndarray, inks: str | None = None) -> list[Region]:
        """The screened regions of a scan, as `with_inks` returns them."""
        return self.with_inks(scan, find_regions(scan), inks)

    def with_inks(self, scan: np.ndarray, regions: list[Region], inks: str | None = None) -> list[Region]:
        """The regions, each with the belief in process inks that `restore` tells the network.

        inks  as for `restore`; None: those that a region has, or else detected. Raises ValueError as `restore`
        """
        if self.network.inks is None:
            if inks is not None:
                raise ValueError("the network does not know kinds of inks")
            return regions
        if inks is not None:
            return [region._replace(belief=BELIEFS[inks]) for region in regions]
        detect = self.network.inks.belief
        return [
            region if region.belief is not None else region._replace(belief=detect(scan[region.box]))
            for region in regions
        ]

    def _restore(self, scan: np.ndarray, region: Region, coarse: bool, notch: bool, tone: bool) -> np.ndarray:
        screens = region.screens
        waves = EstimatedWaves(scan, screens) if self.network.settings["waves"] else None

        def inputs(window: tuple[slice, slice]) -> tuple[Tensor]:
            crop = to_tensor(scan[window])
            if waves is not None:
                crop = concat_waves(crop, waves.crop(window))
            if self.network.inks is not None:
                crop = append_belief(crop, region.belief)
            return (crop,)

        with threads_for(scan[..., 0].size):
            restored = self.tiled(scan.shape[:2], self.network.coarse if coarse else self.network.restore, inputs)
        if notch:
            restored = notch_screens(restored, screens)
        pitch = common_pitch(screens) or 0
        if tone and self.network.tone is not None and pitch >= MIN_PITCH:
            restored = self.network.tone.correct(scan, restored, pitch)
        if all(np.array_equal(scan[..., 0], scan[..., channel]) for channel in (1, 2)):
            restored = cv2.cvtColor(cv2.cvtColor(restored, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        return restored


def baseline_restorer(method: str, strength: float, mask: str) -> Restorer:
    """A method of BASELINES at the detected pitch of each scan, large-pitch screens at half or quarter size.

    The restorer raises MemoryError when OpenCV runs out of memory.
    """
    function = BASELINES[method]
    if function is fft_notch:
        function = partial(function, mask=mask)

    def at_pitch(scan: np.ndarray, region: Region) -> np.ndarray:
        return function(scan, max(common_pitch(region.screens) or DEFAULT_PITCH, MIN_FILTERED_PITCH), strength)

    def restore(scan: np.ndarray, regions: list[Region]) -> np.ndarray:
        try:
            return apply_to_regions(partial(_restore_shrunk, at_pitch), scan, regions)
        except cv2.error as error:
            if error.code != cv2.Error.StsNoMem:
                raise
            raise MemoryError(error.err) from error

    return restore


def apply_to_regions(function: Filter, image: np.ndarray, regions: list[Region]) -> np.ndarray:
    """Apply `function` to each region of (H, W, 3) BGR uint8, blended by the masks; the rest is copied."""
    out = image.copy()
    for region in regions:
        near, inner = zip(*(_with_context(*pair) for pair in zip(region.box, image.shape, strict=False)), strict=True)
        changed = function(np.ascontiguousarray(image[near]), region)[inner]
        part = out[region.box]
        np.copyto(part, changed, where=(region.mask == 255)[..., None])
        edge = (region.mask > 0) & (region.mask < 255)  # the rest needs no arithmetic
        weight = region.mask[edge, None].astype(np.float32) / 255
        part[edge] = np.rint(part[edge] * (1 - weight) + changed[edge] * weight)
    return out


def _with_context(part: slice, side: int) -> tuple[slice, slice]:
    """The part of a side with its context, and the part inside of that."""
    start, stop = max(part.start - CONTEXT, 0), min(part.stop + CONTEXT, side)
    return slice(start, stop), slice(part.start - start, part.stop - start)


def _restore_shrunk(restore: Filter, scan: np.ndarray, region: Region) -> np.ndarray:
    """Shrink `scan` by `shrink_for(region.screens)`, restore it, and enlarge the result to the original size."""
    shrink = shrink_for(region.screens)
    if shrink == 1:
        return restore(scan, region)
    height, width = scan.shape[:2]
    padded = cv2.copyMakeBorder(scan, 0, -height % shrink, 0, -width % shrink, cv2.BORDER_REPLICATE)
    small = cv2.resize(padded, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    screens = {ink: screen._replace(pitch=screen.pitch / shrink) for ink, screen in region.screens.items()}
    restored = restore(small, region._replace(screens=screens))
    enlarged = cv2.resize(restored, padded.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(enlarged[:height, :width])
