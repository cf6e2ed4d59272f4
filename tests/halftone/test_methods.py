"""Properties that every method has."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftone import METHODS

SLOW = {name for name, method in METHODS.items() if method.family == "search"}
every_method = pytest.mark.parametrize("name", METHODS)


def photo(height: int, width: int, seed: int) -> np.ndarray:
    """A test image with constant areas, gradients, edges and noise."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:height, :width]
    gray = 127 + 120 * np.sin(x / 9 + random.rand() * 6) * np.cos(y / 13) + random.randn(height, width) * 15
    gray[: height // 3, : width // 2] = random.randint(0, 256)
    return np.clip(gray, 0, 255).astype(np.uint8)


@every_method
@settings(max_examples=6, deadline=None, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40), seed=st.integers(0, 99))
def test_any_size_gives_a_binary_image_of_the_same_size_and_does_not_modify_the_input(name, height, width, seed):
    gray = photo(height, width, seed)
    before = gray.copy()
    out = METHODS[name](gray)
    assert out.dtype == np.uint8 and out.shape == gray.shape
    assert np.isin(out, (0, 255)).all()
    assert np.array_equal(gray, before)
    assert np.array_equal(METHODS[name](gray), out), "the same input gave another halftone"


@every_method
@pytest.mark.parametrize("shape", [(1, 1), (1, 70), (70, 1), (33, 47)])
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white_are_unchanged(name, level, shape):
    out = METHODS[name](np.full(shape, level, np.uint8))
    assert (out == level).all()


@every_method
def test_the_mean_of_a_constant_area_is_its_gray(name):
    for level in (25, 102, 200, 230) if name in SLOW else range(5, 255, 15):
        mean = METHODS[name](np.full((192, 192), level, np.uint8)).mean()
        assert abs(mean - level) <= METHODS[name].tone_bound, f"gray {level} became {mean:.2f}"


@every_method
def test_floats_of_the_same_levels_give_the_same_halftone(name):
    gray = photo(37, 53, 1)
    out = METHODS[name](gray)
    assert np.array_equal(METHODS[name](gray.astype(np.float64)), out)
    assert np.array_equal(METHODS[name](gray.astype(np.float32)), out)


@every_method
def test_a_view_is_halftoned_as_its_copy(name):
    gray = photo(60, 50, 2)[::2, ::-1]
    assert np.array_equal(METHODS[name](gray), METHODS[name](gray.copy()))


@every_method
@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.int32),
        np.zeros((4, 4), bool),
        [[0, 1]],
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.full((4, 4), 255.5),
        np.full((4, 4), -0.5),
        np.full((4, 4), np.nan),
        np.full((4, 4), np.inf),
    ],
    ids=["int32", "bool", "list", "colour", "empty", "above", "below", "nan", "infinite"],
)
def test_a_wrong_dtype_shape_or_range_is_refused_with_one_line(name, bad):
    with pytest.raises((TypeError, ValueError)) as refusal:
        METHODS[name](bad)
    message = str(refusal.value)
    assert message.startswith("gray must") and "\n" not in message


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if "seed" in method.options()])
def test_another_seed_gives_another_halftone_and_the_same_seed_the_same(name):
    method = METHODS[name]
    noisy = {"noise": 30.0} if "noise" in method.options() else {}
    gray = photo(64, 64, 3)
    first, again, other = (method(gray, seed=seed, **noisy) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@every_method
def test_a_method_has_a_source_and_options_with_its_defaults(name):
    method = METHODS[name]
    assert method.name == name and method.source
    defaults = {key: option.default for key, option in method.options().items()}
    gray = photo(20, 20, 4)
    assert np.array_equal(method(gray, **defaults), method(gray))
