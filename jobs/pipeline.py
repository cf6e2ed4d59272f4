"""Reading the next item and writing the previous one while the current one is computed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from utils.errors import UserError


def pipelined(
    items: Sequence[Any],
    read: Callable[[Any], Any],
    compute: Callable[[Any, Any], Any],
    write: Callable[[Any, Any], Any],
    is_large: Callable[[Any], bool],
) -> Iterator[tuple[Any, Any]]:
    """Yield every item, in order, with write(item, compute(item, read(item))), or with the UserError that was raised.

    Where `read` returns None, nothing is computed and None is yielded. `compute` runs in the caller's thread, `read`
    and `write` in one thread each. While an item is computed for which `is_large` is true, no other is in memory.
    """
    writing = []  # at most one: the item and the future of its result

    def written():
        for item, future in writing:
            yield item, _result_or_error(future.result)
        writing.clear()

    if not items:
        return
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        ahead = reader.submit(read, items[0])
        for item, following in zip(items, [*items[1:], None], strict=True):
            value = _result_or_error(ahead.result)
            ahead = None
            alone = _succeeded(value) and is_large(value)
            if following is not None and not alone:
                ahead = reader.submit(read, following)
            if _succeeded(value):
                value = _result_or_error(compute, item, value)
            yield from written()
            if _succeeded(value):
                writing.append((item, writer.submit(write, item, value)))
            else:
                yield item, value
            value = None
            if alone:
                yield from written()
                ahead = reader.submit(read, following) if following is not None else None
        yield from written()


def _succeeded(value: Any) -> bool:
    return value is not None and not isinstance(value, UserError)


def _result_or_error(function: Callable, *args: Any) -> Any:
    try:
        return function(*args)
    except UserError as error:
        return error
