"""Run jobs ahead in threads and return their results in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def prefetch(jobs: Iterable[Callable[[], Result]], workers: int, depth: int | None = None) -> Iterator[Result]:
    """The results of `jobs` in order, computed by `workers` threads; 0: in the calling thread, when they are needed.

    At most `depth` jobs (default: `workers`) run ahead of the one whose result is returned. An exception of a job, or
    of the iterable `jobs`, is raised at its place. Closing the iterator cancels pending jobs and ends the threads.
    """
    if not workers:
        for job in jobs:
            yield job()
        return
    depth = workers if depth is None else depth
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
    pending: deque[Future[Result]] = deque()
    try:
        for job in jobs:
            pending.append(pool.submit(job))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
