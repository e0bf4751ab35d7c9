"""Threads beside the network, with bounds: one that reads ahead, one that writes behind, several that encode.

Decoding, resampling, encoding and waiting for disks release Python's lock.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Yield items, of which none is None, while a thread prepares the next one.

    Args:
        items: The items; one of them is prepared ahead.

    Raises:
        Exception: Where an item would have come, what preparing it has raised.

    Example:
        >>> list(prefetch(range(3)))
        [0, 1, 2]
    """
    iterator = iter(items)
    with thread_pool(1) as thread:
        upcoming = thread.submit(next, iterator, None)
        while (item := upcoming.result()) is not None:
            upcoming = thread.submit(next, iterator, None)
            yield item


class BackgroundThread(Generic[T]):
    """A queue of jobs that one thread runs in their order; what a job has raised is raised with the results.

    Args:
        max_bytes: How much memory the jobs that are not done may hold together; a single one may hold more.

    Example:
        >>> background = BackgroundThread(max_bytes=1000)
        >>> background.add(lambda: "done", size=100)
        >>> background.results(wait=True)
        ['done']
        >>> background.close()
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._thread = thread_pool(1)
        self._jobs: deque[tuple[Future[T], int]] = deque()
        self._results: list[T] = []

    def add(self, job: Callable[[], T], size: int) -> None:
        """Queue a job of `size` bytes; waits until there is room for it."""
        while self._jobs and sum(size for _, size in self._jobs) + size > self.max_bytes:
            self._take_result()
        self._jobs.append((self._thread.submit(job), size))

    def results(self, wait: bool = False) -> list[T]:
        """The results of finished jobs, or of all, that were not returned before."""
        while self._jobs and (wait or self._jobs[0][0].done()):
            self._take_result()
        results, self._results = self._results, []
        return results

    def close(self) -> None:
        """Wait for the running job, and drop the others."""
        self._thread.shutdown(cancel_futures=True)
        self._jobs.clear()

    def _take_result(self) -> None:
        job, _ = self._jobs.popleft()
        self._results.append(job.result())


def thread_pool(threads: int) -> ThreadPoolExecutor:
    """Threads that leave the cores to the network, at most one a core."""
    return ThreadPoolExecutor(min(threads, os.cpu_count() or 1), initializer=_limit_to_one_core)


def _limit_to_one_core() -> None:
    """Else torch would give this thread as many helpers as the network has, and both would wait for cores."""
    with suppress(Exception):  # Where memory is short, the job itself tells it better than a thread that never began.
        import torch

        torch.get_num_threads()  # Only now torch sets a number for this thread.
        threadpool_limits(1, user_api="openmp")
