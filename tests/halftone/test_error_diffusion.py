"""Error diffusion with fixed kernels: compared with a Python reference, and published properties."""

import numpy as np
import pytest

from halftone.diffusion_kernels import KERNELS
from halftone.error_diffusion import error_diffusion

every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def reference(gray: np.ndarray, kernel: str, serpentine: bool, threshold: float = 127.5) -> np.ndarray:
    """Reference: the same sums in the same order, pixel by pixel in float32."""
    weights = KERNELS[kernel].weights
    rows, reach = weights.shape[0], weights.shape[1] // 2
    height, width = gray.shape
    level = np.zeros((height, width), np.float32)
    out = np.zeros((height, width), np.float32)
    for y in range(height):
        step = -1 if serpentine and y % 2 else 1
        for x in range(width)[::step]:
            value = np.float32(gray[y, x])
            for up in range(min(rows - 1, y), 0, -1):
                above = -1 if serpentine and (y - up) % 2 else 1
                for i in range(2 * reach + 1):
                    origin = x - above * (i - reach)
                    if weights[up, i] and 0 <= origin < width:
                        value += weights[up, i] * (level[y - up, origin] - out[y - up, origin])
            for back in range(reach, 0, -1):
                origin = x - step * back
                share = weights[0, reach + back]
                if back > 1 and share and 0 <= origin < width:
                    value += share * level[y, origin] - share * out[y, origin]
                elif back == 1 and 0 <= origin < width:
                    value = (value + share * level[y, origin]) - share * out[y, origin]
            level[y, x] = value
            out[y, x] = 255 if value > threshold else 0
    return out.astype(np.uint8)


@every_kernel
@pytest.mark.parametrize("serpentine", [True, False], ids=["serpentine", "raster"])
def test_equals_the_python_reference_bit_for_bit(kernel, serpentine):
    random = np.random.RandomState(5)
    gray = np.concatenate([random.randint(0, 256, (17, 31)), np.full((9, 31), 128)]).astype(np.uint8)
    assert np.array_equal(error_diffusion(gray, kernel, serpentine=serpentine), reference(gray, kernel, serpentine))


@every_kernel
def test_shares_are_positive_and_sum_to_the_error(kernel):
    weights = KERNELS[kernel].weights
    assert (weights >= 0).all()
    assert np.isclose(weights.sum(), 0.75 if kernel == "atkinson" else 1.0, atol=1e-6)
    reach = weights.shape[1] // 2
    assert not weights[0, : reach + 1].any(), "a share for a pixel already visited"


PUBLISHED = {
    "floyd_steinberg": ([[0, 0, 7], [3, 5, 1]], 16),
    "jarvis_judice_ninke": ([[0, 0, 0, 7, 5], [3, 5, 7, 5, 3], [1, 3, 5, 3, 1]], 48),
    "stucki": ([[0, 0, 0, 8, 4], [2, 4, 8, 4, 2], [1, 2, 4, 2, 1]], 42),
    "burkes": ([[0, 0, 0, 8, 4], [2, 4, 8, 4, 2]], 32),
    "atkinson": ([[0, 0, 0, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]], 8),
    "sierra": ([[0, 0, 0, 5, 3], [2, 4, 5, 4, 2], [0, 2, 3, 2, 0]], 32),
    "sierra_two_row": ([[0, 0, 0, 4, 3], [1, 2, 3, 2, 1]], 16),
    "sierra_lite": ([[0, 0, 2], [1, 1, 0]], 4),
    "shiau_fan_4": ([[0, 0, 0, 4, 0], [1, 1, 2, 0, 0]], 8),
    "shiau_fan_5": ([[0, 0, 0, 0, 8, 0, 0], [1, 1, 2, 4, 0, 0, 0]], 16),
}


def test_kernels_are_as_published():
    assert PUBLISHED.keys() == KERNELS.keys()
    for name, (shares, divisor) in PUBLISHED.items():
        np.testing.assert_allclose(KERNELS[name].weights, np.array(shares) / divisor, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("kernel", ["floyd_steinberg", "sierra_lite"])
def test_middle_gray_is_a_checkerboard(kernel):
    out = error_diffusion(np.full((64, 64), 127.5), kernel, serpentine=False)
    inner = out[8:-8, 8:-8] == 255
    y, x = np.mgrid[: inner.shape[0], : inner.shape[1]]
    agreement = ((y + x) % 2 == inner).mean()
    assert max(agreement, 1 - agreement) > 0.9


def test_the_error_of_one_pixel_follows_the_kernel():
    # 200 becomes white; the right neighbour gets -55 · 7/16, the lower one -55 · 5/16.
    gray = np.array([[200, 151], [144, 0]], np.uint8)
    assert np.array_equal(error_diffusion(gray, serpentine=False), [[255, 0], [255, 0]])


def test_threshold_noise_breaks_patterns_but_keeps_the_tone():
    gray = np.full((128, 128), 127, np.uint8)
    plain, noisy = error_diffusion(gray), error_diffusion(gray, noise=60.0, seed=1)
    assert not np.array_equal(plain, noisy)
    assert abs(noisy.mean() - 127) < 1.5
    assert np.array_equal(noisy, error_diffusion(gray, noise=60.0, seed=1))


def test_a_signal_outside_the_range_or_not_finite_is_rejected():
    with pytest.raises(ValueError, match="0..255"):
        error_diffusion(np.full((8, 8), 300.0))
    with pytest.raises(ValueError, match="finite"):
        error_diffusion(np.full((2, 2), np.nan))


def test_an_unknown_kernel_lists_the_known_ones():
    with pytest.raises(KeyError, match="stucki"):
        error_diffusion(np.zeros((2, 2), np.uint8), "stuki")
