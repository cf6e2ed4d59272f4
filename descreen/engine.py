"""Descreening of whole scans, by the trained networks or without them; uint8 in and uint8 out."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
from torch import Tensor

from descreen.baselines import DEFAULT_PITCH, METHODS, fft_notch
from descreen.networks import COARSE_STRIDE
from descreen.notch import without_screens
from descreen.screen_finder import Screen, common_pitch, find_screens
from descreen.system import Descreener
from descreen.waves import FoundWaves, beside
from utils.engine import Tiler
from utils.pixels import to_tensor

HALO = 128
"""Pixels; the U-Net sees 95 to each side. A scene parser's pooling sees all of a tile, so with it tiles may differ."""

NO_MEMORY = -4  # OpenCV's code

Restore = Callable[[np.ndarray, dict[str, Screen]], np.ndarray]


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

        screens  the scan's, None looks for them. A network that sees waves is told where they lie, and with `notch`
                 their last traces are cut out of what it restored
        Raises MemoryError when not even the smallest tile fits.
        """
        function = self.network.coarse if coarse else self.network.restore
        found = find_screens(scan) if screens is None else screens
        waves = FoundWaves(scan, found) if self.network.settings["waves"] else None

        def window(at: tuple[slice, slice]) -> tuple[Tensor]:
            seen = to_tensor(scan[at])
            return (seen if waves is None else beside(seen, waves.at(at)),)

        restored = self.tiled(scan.shape[:2], function, window)
        return without_screens(restored, found) if notch else restored


def classical(method: str, strength: float, mask: str) -> Restore:
    """A method of baselines.METHODS, adapted to the pitch of each scan's own screen; it may raise MemoryError."""
    function = METHODS[method]
    if function is fft_notch:
        function = partial(function, mask=mask)

    def restore(scan: np.ndarray, screens: dict[str, Screen]) -> np.ndarray:
        try:
            return function(scan, common_pitch(screens) or DEFAULT_PITCH, strength)
        except cv2.error as error:
            if error.code != NO_MEMORY:
                raise
            raise MemoryError(error.err) from error

    return restore
