"""Jobs run ahead in threads; their results come in order."""

import threading
import time
from functools import partial

import pytest

from dataset.prefetch import prefetch


def slow_first(number: int) -> int:
    time.sleep(0.05 if number == 0 else 0)
    return number


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_jobs(workers):
    assert list(prefetch((partial(slow_first, number) for number in range(9)), workers)) == list(range(9))


@pytest.mark.parametrize(("workers", "depth", "ahead"), [(0, None, 0), (1, None, 1), (3, None, 3), (2, 5, 5)])
def test_at_most_depth_jobs_are_taken_ahead_of_the_result(workers, depth, ahead):
    taken = []

    def jobs():
        for number in range(20):
            taken.append(number)
            yield partial(slow_first, number)

    results = prefetch(jobs(), workers, depth)
    for number, _ in zip(range(5), results, strict=False):
        assert len(taken) == number + 1 + ahead
    results.close()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_exception_comes_at_its_place_and_ends_the_threads(workers):
    def fail():
        raise KeyError("third")

    before = threading.active_count()
    results = prefetch([partial(int, 1), partial(int, 2), fail, partial(int, 4)], workers)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(KeyError, match="third"):
        next(results)
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(results)


def test_an_exception_of_the_iterable_is_raised():
    def jobs():
        yield partial(int, 1)
        raise ValueError("no more jobs")

    with pytest.raises(ValueError, match="no more jobs"):
        list(prefetch(jobs(), 1))


def test_closing_cancels_what_is_pending_and_ends_the_threads():
    started, before = [], threading.active_count()

    def job(number):
        started.append(number)
        time.sleep(0.1)
        return number

    results = prefetch((partial(job, number) for number in range(50)), 1, 20)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before and len(started) < 21, "one of 50 jobs was needed and 20 were pending"
