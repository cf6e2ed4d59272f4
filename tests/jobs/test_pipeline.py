"""Reading, computing and writing in parallel: every item once, in order, and large items alone."""

import threading

from jobs.pipeline import pipelined
from utils.errors import UserError


def run(items, read=None, compute=None, write=None, large=()):
    results = pipelined(
        items,
        read or (lambda item: item),
        compute or (lambda item, data: data * 10),
        write or (lambda item, result: result + 1),
        lambda data: data in large,
    )
    return list(results)


def test_every_item_is_processed_in_order():
    assert run([]) == []
    for large in ((), (2,), (1, 2, 3), (3,)):
        assert run([1, 2, 3], large=large) == [(1, 11), (2, 21), (3, 31)]


def test_an_error_in_any_step_skips_only_its_item():
    def failing(at):
        def step(item, data=None):
            if item == at:
                raise UserError(f"bad {item}")
            return item

        return step

    for step in ("read", "compute", "write"):
        for bad in (1, 2, 3):
            results = dict(run([1, 2, 3], **{step: failing(bad)}, large=(2,)))
            assert [item for item, result in results.items() if isinstance(result, UserError)] == [bad]
            assert len(results) == 3


def test_items_that_are_left_out_are_neither_computed_nor_written():
    assert run([1, 2], read=lambda item: None if item == 1 else item) == [(1, None), (2, 21)]


def test_the_next_item_is_read_and_the_previous_written_while_one_is_computed():
    second_read, third_computed = threading.Event(), threading.Event()

    def read(item):
        if item == 2:
            second_read.set()
        return item

    def compute(item, data):
        if item == 1:
            assert second_read.wait(20)
        if item == 3:
            third_computed.set()
        return data

    def write(item, result):
        if item == 2:
            assert third_computed.wait(20)
        return result

    assert run([1, 2, 3], read, compute, write) == [(1, 1), (2, 2), (3, 3)]


def test_nothing_is_read_while_a_large_item_is_processed():
    reads, at_compute, at_write = [], {}, {}

    def read(item):
        reads.append(item)
        return item

    def compute(item, data):
        at_compute[item] = list(reads)
        return data

    def write(item, result):
        at_write[item] = list(reads)
        return result

    run([1, 2, 3], read, compute, write, large=(2,))
    assert at_compute[2] == at_write[2] == [1, 2]
