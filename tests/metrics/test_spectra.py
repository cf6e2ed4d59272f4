"""Spectra of patterns whose power spectrum is known from theory."""

import math

import cv2
import numpy as np
import pytest

from metrics import spectra


def white_noise(level: float, count: int = 40, size: int = 64) -> np.ndarray:
    return np.where(np.random.default_rng(3).random((count, size, size)) < level, 255, 0).astype(np.uint8)


@pytest.mark.parametrize("level", [0.125, 0.5, 0.75])
def test_the_spectrum_of_white_noise_is_flat_and_isotropic(level):
    spectrum = spectra.measure(white_noise(level), level)
    assert spectrum.count == 40
    members = np.bincount(np.rint(spectra.radii(64) * 64).astype(int).ravel())[1:]
    deviation = np.sqrt(
        2 / (40 * members)
    )  # of a ring mean: bins are exponentially distributed, and f and −f are the same bin
    assert (np.abs(spectrum.rapsd - 1) < 4.5 * deviation).all()
    assert spectrum.mean_anisotropy == pytest.approx(-10 * math.log10(40), abs=1.0)


@pytest.mark.parametrize("level", [0.125, 0.5, 0.75])
def test_low_frequency_energy_of_white_noise_is_the_share_of_low_frequencies(level):
    expected = math.pi * min(level, 1 - level) / 16
    patches = white_noise(level, size=128)
    assert spectra.measure(patches, level).low_frequency_energy == pytest.approx(expected, rel=0.06)


def test_the_mean_power_is_the_mean_square():
    """Parseval: the mean over all bins is the mean square of x − g."""
    patches = white_noise(0.3, count=3, size=32)
    power = spectra.power_spectrum(patches, 0.3)
    assert power.mean() == pytest.approx(np.mean((patches / 255 - 0.3) ** 2))


def bayer(order: int) -> np.ndarray:
    matrix = np.zeros((1, 1), int)
    for _ in range(order):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return matrix


def test_bayer_middle_gray_has_one_peak_at_the_highest_frequency():
    """Half gray under a Bayer matrix is a checkerboard: all power at (½, ½)."""
    patch = np.tile(np.where(bayer(3) < 32, 255, 0), (8, 8)).astype(np.uint8)
    power = spectra.power_spectrum(patch[None], 0.5)
    assert power[32, 32] == pytest.approx(64 * 64 / 4) and np.delete(power.ravel(), 32 * 64 + 32).max() < 1e-9
    spectrum = spectra.measure(patch[None], 0.5)
    assert spectrum.low_frequency_energy < 1e-12
    assert spectrum.frequency[np.argmax(spectrum.rapsd)] == pytest.approx(math.sqrt(0.5), abs=1 / 64)
    assert np.isnan(spectrum.anisotropy[:20]).all()


def test_bayer_quarter_gray_has_three_equal_peaks():
    """One dot in every 2×2 block: (½, 0), (0, ½) and (½, ½), each g² per pixel."""
    patch = np.tile(np.where(bayer(3) < 16, 255, 0), (8, 8)).astype(np.uint8)
    power = spectra.power_spectrum(patch[None], 0.25)
    peaks = [power[32, 0], power[0, 32], power[32, 32]]
    assert peaks == pytest.approx([64 * 64 / 16] * 3) and power.sum() == pytest.approx(sum(peaks))
    spectrum = spectra.measure(patch[None], 0.25)
    at_half = np.flatnonzero(np.isclose(spectrum.frequency, 0.5))[0]
    assert spectrum.anisotropy[at_half] > 10 and spectrum.rapsd[at_half] > 10


def test_stripes_have_the_anisotropy_of_their_ring():
    """Two of the M bins of a ring hold all power: variance / mean² = M (M − 2) / (2 (M − 1))."""
    stripes = np.tile(np.where(np.arange(64) % 4 < 2, 255, 0), (64, 1)).astype(np.uint8)
    spectrum = spectra.measure(stripes[None], 0.5)
    members = (np.rint(spectra.radii(64) * 64) == 16).sum()
    expected = 10 * math.log10(members * (members - 2) / (2 * (members - 1)))
    assert spectrum.anisotropy[15] == pytest.approx(expected)
    assert spectrum.frequency[15] == 0.25


def test_low_frequency_energy_of_wide_stripes_is_that_of_their_low_harmonics():
    """Harmonics 1 to 11 of stripes 32 wide are below ¼ √½, 8/π² Σ 1/k² of their power; none of stripes 2 wide are."""
    slow = 8 / math.pi**2 * sum(1 / k**2 for k in range(1, 12, 2))
    for width, expected in ((32, slow), (2, 0.0)):
        rows = np.where(np.arange(128) // width % 2, 255, 0).astype(np.uint8)
        patch = np.repeat(rows[:, None], 128, axis=1)[None]
        assert spectra.measure(patch, 0.5).low_frequency_energy == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(("level", "frequency"), [(0.25, 0.5), (0.5, math.sqrt(0.5)), (0.75, 0.5), (0.96, 0.2)])
def test_principal_frequency_follows_the_gray_level(level, frequency):
    assert spectra.principal_frequency(level) == pytest.approx(frequency)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1])
def test_a_gray_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ValueError, match="gray level"):
        spectra.measure(white_noise(0.5, 1), level)


def test_patches_are_adjacent_and_inside_the_margin():
    field = np.arange(10 * 13).reshape(10, 13)
    patches = spectra.cut_patches(field, 4, margin=1)
    assert patches.shape == (4, 4, 4)
    assert np.array_equal(patches[0], field[1:5, 1:5]) and np.array_equal(patches[3], field[5:9, 5:9])
    with pytest.raises(ValueError, match="no patch"):
        spectra.cut_patches(field, 12)


def test_a_plot_is_written_as_an_image(tmp_path):
    spectrum = spectra.measure(white_noise(0.25, 4), 0.25)
    spectra.plot(tmp_path / "spectra.png", {"1/4": {"white": spectrum}, "again": {"white": spectrum}})
    assert cv2.imread(str(tmp_path / "spectra.png")).std() > 1
    assert [p.name for p in tmp_path.iterdir()] == ["spectra.png"]
