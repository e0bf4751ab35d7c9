"""Work beside the network, with bounds: a thread that reads ahead, one that writes behind, and some that encode.

Decoding, resampling, encoding and waiting for disks leave Python's lock to the others.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Self, TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")


def prefetch(items: Iterable[T]) -> Iterator[T]:
    """Hand on items, of which none is None, while the next one is being made in a thread.

    Args:
        items: What is handed on; one of them is made ahead.

    Raises:
        Exception: What making an item raises, in its place.

    Example:
        >>> list(prefetch(range(3)))
        [0, 1, 2]
    """
    made = iter(items)
    with _thread() as thread:
        coming = thread.submit(next, made, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, made, None)
            yield item


class BackgroundThread(Generic[T]):
    """Does jobs in a thread, one after the other.

    Args:
        most: How much the jobs that are not done may hold together, in bytes; a single one may hold more.

    Example:
        >>> background = BackgroundThread(most=1000)
        >>> background.add(lambda: "done", holding=100)
        >>> background.rest()
        ['done']
        >>> background.close()
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._thread = _thread()
        self._jobs: deque[tuple[Future[T], int]] = deque()
        self._results: list[T] = []

    def add(self, job: Callable[[], T], holding: int) -> None:
        """Have a job done; waits until there is room for it.

        Args:
            job: The job.
            holding: What it holds until it is done, in bytes.

        Raises:
            Exception: What an earlier job has raised.
        """
        while self._jobs and sum(held for _, held in self._jobs) + holding > self.most:
            self._take()
        self._jobs.append((self._thread.submit(job), holding))

    def done(self) -> list[T]:
        """The results that were not handed out before.

        Raises:
            Exception: What one of the jobs has raised.
        """
        while self._jobs and self._jobs[0][0].done():
            self._take()
        results, self._results = self._results, []
        return results

    def rest(self) -> list[T]:
        """Wait for all jobs; returns the results that were not handed out before.

        Raises:
            Exception: What one of the jobs has raised.
        """
        while self._jobs:
            self._take()
        return self.done()

    def close(self) -> None:
        """Wait for the job that has begun, and forget the others."""
        self._thread.shutdown(cancel_futures=True)
        self._jobs.clear()

    def _take(self) -> None:
        job, _ = self._jobs.popleft()
        self._results.append(job.result())


class ThreadRound:
    """Does jobs in threads, a round of them while the next round is being prepared.

    Left, it waits for the jobs that have begun.

    Args:
        most: Jobs of a round at most.

    Example:
        >>> done = []
        >>> with ThreadRound(2) as threads:
        ...     threads.begin([lambda: done.append(1)])
        ...     threads.begin([lambda: done.append(2)])
        ...     threads.end()
        >>> done
        [1, 2]
    """

    def __init__(self, most: int) -> None:
        self._threads = _threads(min(most, os.cpu_count() or 1))
        self._round: list[Future[None]] = []

    def begin(self, jobs: Iterable[Callable[[], None]]) -> None:
        """Begin a round, when the one before it has ended.

        Raises:
            Exception: What a job of the one before has raised.
        """
        self.end()
        self._round = [self._threads.submit(job) for job in jobs]

    def end(self) -> None:
        """Wait for the round.

        Raises:
            Exception: What one of its jobs has raised.
        """
        for job in self._round:
            job.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)


def _thread() -> ThreadPoolExecutor:
    return _threads(1)


def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, initializer=_leave_the_cores_to_the_network)


def _leave_the_cores_to_the_network() -> None:
    """Else torch would give this thread as many helpers as the network has, and both would wait for cores."""
    torch.get_num_threads()  # Only now torch sets a number for this thread.
    threadpool_limits(1, user_api="openmp")
