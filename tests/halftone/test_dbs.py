"""Direct binary search: compared with a direct computation of its cost, determinism, bands, errors."""

import numba
import numpy as np
import pytest
from scipy.signal import convolve2d

from halftone import dbs
from halftone.dbs import Search, Term, direct_binary_search, gaussian_filter


def cost(halftone, terms):
    """The cost by its definition: full convolution of the modulated error, 0 beyond the border."""
    y, x = np.mgrid[0 : halftone.shape[0], 0 : halftone.shape[1]]
    signal = halftone.astype(np.float64) / 127.5 - 1
    total = 0.0
    for term in terms:
        row, column = term.carrier
        error = signal * (-1.0) ** (row * y + column * x) - term.target
        total += term.weight * (convolve2d(error, term.filter, mode="full") ** 2).sum()
    return total


@pytest.mark.parametrize("sigma", [1.5, 2.0])
def test_a_gaussian_filter_is_symmetric_and_of_sum_one(sigma):
    found = gaussian_filter(sigma, 5)
    assert found.shape == (11, 11) and found.sum() == pytest.approx(1)
    assert np.array_equal(found, found.T) and np.array_equal(found, found[::-1])
    assert found[5, 8] / found[5, 5] == pytest.approx(np.exp(-4.5 / sigma**2))


def example(height=45, width=70, seed=0):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 20
    terms = [
        Term(0.6 * np.sin(x + y), gaussian_filter(1.3, 4)),
        Term(0.2 * np.cos(x), gaussian_filter(2.0, 5), 0.3, (1, 1)),
        Term(0.2 * np.cos(y), gaussian_filter(2.0, 5), 0.3, (1, 0)),
    ]
    return np.where(random.random((height, width)) < 0.5, 0, 255).astype(np.uint8), terms


def test_the_result_is_a_local_minimum_under_toggles_and_swaps():
    start, terms = example(14, 17)
    found = direct_binary_search(start, terms, passes=100)
    lowest = cost(found, terms)
    assert lowest < cost(start, terms) / 4
    for y in range(14):
        for x in range(17):
            for v, u in [(y, x), *((y + i, x + j) for i in (0, 1) for j in (-1, 0, 1) if (i, j) > (0, 0))]:
                if v >= 14 or not 0 <= u < 17:
                    continue
                other = found.copy()
                other[y, x] ^= 255
                if (v, u) != (y, x):
                    if found[v, u] == found[y, x]:
                        continue
                    other[v, u] ^= 255
                assert cost(other, terms) > lowest - 1e-3


def test_a_preference_adds_a_linear_term_to_the_cost_of_a_continued_search():
    start, terms = example(14, 17)
    price = np.random.default_rng(1).normal(0, 0.05, start.shape)
    search = Search(start, terms)
    search.run(100)
    eye = search.halftone()
    search.add_linear_term(slice(0, 9), price[:9])
    search.add_linear_term(slice(9, 14), price[9:])
    search.run(100)
    found = search.halftone()

    def whole(halftone):
        return cost(halftone, terms) + (price * (halftone / 127.5 - 1)).sum()

    assert whole(found) < whole(eye)
    for y in range(14):
        for x in range(17):
            other = found.copy()
            other[y, x] ^= 255
            assert whole(other) > whole(found) - 1e-3


def test_an_anchor_adds_the_distance_to_it_to_the_cost_of_a_continued_search():
    start, terms = example(150, 17)
    search = Search(start, terms)
    search.run(2)
    change = np.random.default_rng(1).normal(size=start.shape).astype(np.float32)
    anchor = search.halftone() / 127.5 - 1 + change
    search.anchor(gaussian_filter(1.0, 3), 0.7)
    for rows in (slice(0, 70), slice(70, 71), slice(71, 150)):
        search.move_anchor(rows, change[rows])
    search.run(3)
    anchored = [*terms, Term(anchor, gaussian_filter(1.0, 3), 0.7)]
    np.testing.assert_allclose(
        search._inside(slice(0, 150)), Search(search.halftone(), anchored)._inside(slice(0, 150)), atol=1e-4
    )
    again = Search(search.halftone(), anchored)
    search.run(100)
    again.run(100)
    assert np.array_equal(search.halftone(), again.halftone())


def test_the_gradient_is_kept_up_to_date():
    start, terms = example(110, 130)
    search = Search(start, terms)
    search.run(8)
    afresh = Search(search.halftone(), terms)
    rows = slice(0, 110)
    np.testing.assert_allclose(search._inside(rows), afresh._inside(rows), atol=1e-4)
    search.run(100)
    assert np.array_equal(search.halftone(), direct_binary_search(start, terms, 108))


def test_filters_that_are_not_separable_are_supported():
    start, _ = example(40, 30)
    disc = (np.hypot(*np.mgrid[-3:4, -3:4]) < 3.5) / 37
    term = Term(np.full(start.shape, 0.2), disc)
    gradient = dbs._gradient(np.where(start > 127, 1, -1).astype(np.int8), [term], 0)
    error = convolve2d(start / 127.5 - 1 - 0.2, disc, mode="full")
    np.testing.assert_allclose(gradient, convolve2d(error, disc[::-1, ::-1], mode="valid"), atol=1e-4)


def test_each_pass_lowers_the_cost_across_blocks():
    start, terms = example(110, 130)
    costs = [cost(direct_binary_search(start, terms, passes), terms) for passes in (0, 1, 2, 4)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[1] < costs[0] / 4


def test_the_result_does_not_depend_on_the_number_of_threads():
    start, terms = example(150, 210)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = direct_binary_search(start, terms)
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(alone, direct_binary_search(start, terms))


def test_a_search_initialised_in_bands_gives_the_same_result(monkeypatch):
    start, terms = example(150, 60)
    whole = direct_binary_search(start, terms)
    monkeypatch.setattr(dbs, "BAND_PIXELS", 1)

    def rows_of(rows):
        assert rows.stop - rows.start < 100
        return [Term(term.target[rows], term.filter, term.weight, term.carrier) for term in terms]

    assert (direct_binary_search(start, terms) == whole).mean() > 0.999
    assert np.array_equal(direct_binary_search(start, terms), direct_binary_search(start, rows_of))


def test_constant_gray_keeps_its_mean_and_the_start_is_not_modified():
    start, _ = example(64, 64)
    before = start.copy()
    found = direct_binary_search(start, [Term(np.full((64, 64), -0.5), gaussian_filter(1.5, 5))])
    assert np.array_equal(start, before)
    assert found.dtype == np.uint8 and set(np.unique(found)) == {0, 255}
    assert found.mean() / 255 == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 2)])
def test_images_smaller_than_the_filter_are_searched(shape):
    start = np.zeros(shape, np.uint8)
    found = direct_binary_search(start, [Term(np.ones(shape), gaussian_filter(1.0, 3))])
    assert (found == 255).all()


def test_invalid_input_is_refused():
    start = np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match="does not fit"):
        direct_binary_search(start, [Term(np.zeros((8, 9)), gaussian_filter(1, 3))])
    with pytest.raises(ValueError, match="odd side"):
        direct_binary_search(start, [Term(np.zeros((8, 8)), np.ones((4, 4)))])
    with pytest.raises(ValueError, match="parities"):
        direct_binary_search(start, [Term(np.zeros((8, 8)), gaussian_filter(1, 3), 1.0, (2, 0))])
    with pytest.raises(ValueError, match="at least one"):
        direct_binary_search(start, [])
    with pytest.raises(ValueError, match="uint8"):
        direct_binary_search(start.astype(float), [Term(np.zeros((8, 8)), gaussian_filter(1, 3))])
