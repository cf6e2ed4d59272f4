"""Run jobs ahead in threads or processes and return their results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def prefetch(
    jobs: Iterable[Callable[[], Result]], workers: int, depth: int | None = None, pool: Executor | None = None
) -> Iterator[Result]:
    """The results of `jobs` in order, computed by `workers` threads; 0: in the calling thread, when they are needed.

    With a `pool` its threads or processes compute them instead, and it is not shut down.

    At most `depth` jobs (default: `workers`) run ahead of the one whose result is returned. An exception of a job, or
    of the iterable `jobs`, is raised at its place. Closing the iterator cancels pending jobs and ends its own
    threads.
    """
    if not workers and pool is None:
        for job in jobs:
            yield job()
        return
    depth = workers if depth is None else depth
    own = ThreadPoolExecutor(workers, thread_name_prefix="prefetch") if pool is None else None
    pool = pool or own
    pending: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(job))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
        if own is not None:
            own.shutdown()
