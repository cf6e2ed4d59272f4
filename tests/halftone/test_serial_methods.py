"""Dot diffusion, Riemersma and green noise compared with Python references."""

import zlib

import numpy as np
import pytest

from halftone.diffusion_kernels import KERNELS
from halftone.dot_diffusion import CLASSES, dot_diffusion
from halftone.error_diffusion import error_diffusion
from halftone.green_noise import green_noise
from halftone.noise import uniform
from halftone.riemersma import riemersma

GRAY = np.random.RandomState(0).randint(0, 256, (21, 35)).astype(np.uint8)


def reference_dot_diffusion(gray, classes):
    size = len(classes)
    height, width = gray.shape
    level = gray.astype(np.float32)
    out = np.zeros(gray.shape, np.uint8)
    order = sorted(np.ndindex(gray.shape), key=lambda place: classes[place[0] % size, place[1] % size])
    for y, x in order:
        out[y, x] = 255 if level[y, x] > 127.5 else 0
        error = level[y, x] - np.float32(out[y, x])
        around = [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if 0 <= y + i < height and 0 <= x + j < width]
        higher = [(v, u) for v, u in around if classes[v % size, u % size] > classes[y % size, x % size]]
        share = {(v, u): np.float32(2 if v == y or u == x else 1) for v, u in higher}
        for place in higher:
            level[place] += error / sum(share.values()) * share[place]
    return out


@pytest.mark.parametrize("classes", CLASSES)
def test_dot_diffusion_equals_the_python_reference(classes):
    assert np.array_equal(dot_diffusion(GRAY, classes=classes), reference_dot_diffusion(GRAY, CLASSES[classes]))


@pytest.mark.parametrize("classes", CLASSES)
def test_class_matrices_contain_every_class_once(classes):
    assert np.array_equal(np.sort(CLASSES[classes], axis=None), np.arange(CLASSES[classes].size))


@pytest.mark.parametrize(("classes", "crc"), [("knuth", 2264066979), ("mese_8", 3751795203), ("mese_16", 732400991)])
def test_class_matrices_are_those_checked_against_the_papers(classes, crc):
    assert zlib.crc32(CLASSES[classes].astype("<i4").tobytes()) == crc


def test_knuths_matrix_has_two_barons_and_no_near_baron():
    # Knuth 1987: a baron has no neighbour of a higher class. His matrix has two, 62 and 63.
    matrix = CLASSES["knuth"]
    rolled = [np.roll(matrix, (i, j), axis=(0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    barons = matrix[(np.array(rolled) < matrix).all(axis=0)]
    assert sorted(barons) == [62, 63]


def hilbert(side):
    """Positions along a Hilbert curve, by the recursive rule that rotates the first and the last quarter."""
    if side == 1:
        return [(0, 0)]
    inner, half = hilbert(side // 2), side // 2
    first = [(x, y) for y, x in inner]
    last = [(half - 1 - x, half - 1 - y) for y, x in inner]
    return (
        first
        + [(y + half, x) for y, x in inner]
        + [(y + half, x + half) for y, x in inner]
        + [(y, x + half) for y, x in last]
    )


@pytest.mark.parametrize("shape", [(16, 16), (21, 35), (1, 9), (40, 3)])
def test_riemersma_equals_the_python_reference(shape):
    gray = np.resize(GRAY, shape)
    side = 1 << (max(shape) - 1).bit_length()
    curve = [place for place in hilbert(side) if place[0] < shape[0] and place[1] < shape[1]]
    assert len(curve) == gray.size
    weights = [16.0 ** (-i / 15) for i in range(16)]
    errors = [0.0] * 16
    expected = np.zeros(shape, np.uint8)
    for place in curve:
        level = float(gray[place])
        for weight, error in zip(weights, errors, strict=True):
            level += weight * error
        expected[place] = 255 if level >= 128 else 0
        errors = [float(gray[place]) - float(expected[place]), *errors[:-1]]
    assert np.array_equal(riemersma(gray), expected)


def test_the_reference_curve_connects_neighbours():
    curve = np.array(hilbert(16))
    assert (np.abs(np.diff(curve, axis=0)).sum(axis=1) == 1).all()


def test_green_noise_without_hysteresis_and_noise_is_error_diffusion():
    plain = green_noise(GRAY, hysteresis=0.0, noise=0.0)
    assert (plain == error_diffusion(GRAY)).mean() > 0.99  # the same sums in another order


def test_green_noise_equals_the_python_reference():
    weights = KERNELS["floyd_steinberg"].weights
    height, width = GRAY.shape
    carried = np.zeros((height + 1, width + 2), np.float32)
    expected = np.zeros(GRAY.shape, np.uint8)
    for y in range(height):
        step = -1 if y % 2 else 1
        before = 0.5
        for x in range(width)[::step]:
            above = expected[y - 1, x] / 255 if y else 0.5
            level = np.float32(GRAY[y, x]) + carried[y, x + 1]
            shift = np.float32(255 * 0.6) * np.float32(0.5 * (before + above) - 0.5)
            threshold = np.float32(127.5) + np.float32(20.0 * (2 * uniform(3, y, x) - 1))
            before = 1.0 if level + shift > threshold else 0.0
            expected[y, x] = 255 * before
            error = level - np.float32(255 * before)
            for down, across in ((0, 1), (1, -1), (1, 0), (1, 1)):
                carried[y + down, x + 1 + step * across] += weights[down, 1 + across] * error
    assert np.array_equal(green_noise(GRAY, seed=3), expected)


def test_hysteresis_clusters_dots():
    gray = np.full((128, 128), 80, np.uint8)
    changes = [np.diff(green_noise(gray, hysteresis=amount)).astype(bool).mean() for amount in (0.0, 0.5, 0.9)]
    assert changes[0] > changes[1] > changes[2]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (dot_diffusion, {"classes": "knut"}, "knuth"),
        (green_noise, {"kernel": "stuki"}, "stucki"),
        (green_noise, {"hysteresis": 1.0}, "hysteresis"),
        (riemersma, {"memory": 0}, "memory"),
        (riemersma, {"ratio": 0.5}, "ratio"),
    ],
)
def test_a_wrong_option_is_refused(method, options, message):
    with pytest.raises((KeyError, ValueError), match=message):
        method(GRAY, **options)
