"""Descreening of whole scans, by the trained networks or without them; uint8 in and uint8 out."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from torch import Tensor

from descreen.baselines import BASELINES, DEFAULT_PITCH, fft_notch
from descreen.networks import COARSE_STRIDE
from descreen.notch import without_screens
from descreen.screen_finder import Screen, common_pitch, find_screens, shrink_for
from descreen.system import Descreener
from descreen.waves import FoundWaves, beside
from model.tiler import Tiler
from utils.pixels import to_tensor

HALO = 128
"""Pixels; the U-Net sees 95 to each side. A scene parser's pooling sees all of a tile, so with it tiles may differ."""

NO_MEMORY = -4  # OpenCV's code

Restorer = Callable[[np.ndarray, dict[str, Screen]], np.ndarray]


class DescreenEngine(Tiler):
    """A Descreener on scans of any size; the arguments are those of `Tiler`."""

    def __init__(
        self, network: Descreener, device: str | None = None, tile: int | None = None, bf16: bool | None = None
    ):
        super().__init__(network, device, tile, bf16, halo=HALO, step=COARSE_STRIDE)

    def restore(
        self, scan: np.ndarray, screens: dict[str, Screen] | None = None, *, coarse: bool = False, notch: bool = True
    ) -> np.ndarray:
        """Scan (H, W, 3) BGR uint8 → continuous tone, by all parts or the `coarse` alone.

        screens  the scan's, None looks for them; coarse ones are taken out at half or quarter size. A network that
                 sees waves is told where they lie, and with `notch` their last traces are cut out of what it restored
        Raises MemoryError when not even the smallest tile fits.
        """
        found = find_screens(scan) if screens is None else screens
        return _at_fitting_size(partial(self._restore, coarse=coarse, notch=notch), scan, found)

    def _restore(self, scan: np.ndarray, found: dict[str, Screen], coarse: bool, notch: bool) -> np.ndarray:
        function = self.network.coarse if coarse else self.network.restore
        waves = FoundWaves(scan, found) if self.network.settings["waves"] else None

        def window(at: tuple[slice, slice]) -> tuple[Tensor]:
            seen = to_tensor(scan[at])
            return (seen if waves is None else beside(seen, waves.at(at)),)

        restored = self.tiled(scan.shape[:2], function, window)
        return without_screens(restored, found) if notch else restored


def baseline_restorer(method: str, strength: float, mask: str) -> Restorer:
    """A method of baselines.BASELINES, adapted to the pitch of each scan's own screen; it may raise MemoryError.

    Coarse screens are taken out at half or quarter size.
    """
    function = BASELINES[method]
    if function is fft_notch:
        function = partial(function, mask=mask)

    def by_pitch(scan: np.ndarray, screens: dict[str, Screen]) -> np.ndarray:
        return function(scan, common_pitch(screens) or DEFAULT_PITCH, strength)

    def restore(scan: np.ndarray, screens: dict[str, Screen]) -> np.ndarray:
        try:
            return _at_fitting_size(by_pitch, scan, screens)
        except cv2.error as error:
            if error.code != NO_MEMORY:
                raise
            raise MemoryError(error.err) from error

    return restore


def _at_fitting_size(restore: Restorer, scan: np.ndarray, screens: dict[str, Screen]) -> np.ndarray:
    """`restore` a scan shrunk by what `shrink_for` says, and enlarge what it returns to the scan's size."""
    shrink = shrink_for(screens)
    if shrink == 1:
        return restore(scan, screens)
    height, width = scan.shape[:2]
    padded = cv2.copyMakeBorder(scan, 0, -height % shrink, 0, -width % shrink, cv2.BORDER_REPLICATE)
    small = cv2.resize(padded, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    restored = restore(small, {ink: screen._replace(pitch=screen.pitch / shrink) for ink, screen in screens.items()})
    enlarged = cv2.resize(restored, padded.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(enlarged[:height, :width])
