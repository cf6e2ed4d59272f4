"""Fixtures of the tests of sheets: dots as a halftone, printed and scanned sheets."""

import numpy as np
import pytest

from bench.paper import Capture, capture, print_page
from bench.print_scan import sheet_on_page
from model.pilot import pilot_wave

DPI = 600


@pytest.fixture(scope="session")
def dots():
    """Function: random dots of all levels, biased by the pilot, (height, width) uint8 {0, 255}."""

    def make(height=64, width=80, seed=0):
        level = np.linspace(-0.8, 0.8, width) + 0.2 * pilot_wave((height, width))
        white = np.random.default_rng(seed).uniform(-1, 1, (height, width)) < level
        return np.where(white, np.uint8(255), np.uint8(0))

    return make


@pytest.fixture(scope="session")
def scanned():
    """Function: the simulated scan of a sheet with a halftone, uint8 (H, W, 3)."""

    def make(halftone, cell=6, device=Capture(), seed=0):  # noqa: B008 (frozen)
        return capture(print_page(sheet_on_page(halftone, cell), DPI, seed=seed), DPI, device, seed=seed)

    return make
