"""Threads beside the network: in order, within bounds, and what they raise comes out."""

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from mdx_progressive.runtime import threads
from mdx_progressive.runtime.threads import BackgroundThread, prefetch


def test_one_item_is_made_ahead_and_no_more() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    handed_on = prefetch(items())

    assert next(handed_on) == 0
    assert made[1].wait(10)
    assert not made[2].wait(0.05)
    assert list(handed_on) == [1, 2, 3]


def test_what_making_an_item_raises_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("two")

    handed_on = prefetch(items())

    assert next(handed_on) == 1
    with pytest.raises(KeyError, match="two"):
        next(handed_on)


def test_jobs_wait_for_room_and_are_done_in_order() -> None:
    background: BackgroundThread[int] = BackgroundThread(max_bytes=100)
    go_on, added = threading.Event(), []

    def add() -> None:
        for number in range(3):
            background.add(partial(lambda number: number if go_on.wait(10) else -1, number), size=50)
            added.append(number)

    adding = threading.Thread(target=add)
    adding.start()
    adding.join(0.1)
    assert added == [0, 1]
    go_on.set()
    adding.join(10)

    assert background.results(wait=True) == [0, 1, 2]
    background.close()


def test_what_a_job_raises_is_raised() -> None:
    background: BackgroundThread[None] = BackgroundThread(max_bytes=10**6)

    def broken() -> None:
        raise OSError("no space left")

    background.add(broken, size=1)

    with pytest.raises(OSError, match="no space left"):
        background.results(wait=True)
    background.close()


def test_closing_it_waits_for_what_has_begun_and_forgets_the_others() -> None:
    background: BackgroundThread[None] = BackgroundThread(max_bytes=10**6)
    began, done = threading.Event(), []

    def begun() -> None:
        began.set()
        time.sleep(0.05)
        done.append("begun")

    background.add(begun, size=1)
    background.add(lambda: done.append("another"), size=1)
    assert began.wait(10)

    background.close()

    assert done == ["begun"]


def test_its_thread_leaves_the_cores_to_the_network() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        background: BackgroundThread[int] = BackgroundThread(max_bytes=1)
        background.add(torch.get_num_threads, size=1)

        assert background.results(wait=True) == [1]
        assert torch.get_num_threads() == 2
        background.close()
    finally:
        torch.set_num_threads(before)


def test_a_job_is_done_though_there_is_no_memory_to_leave_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(threads, "threadpool_limits", fail)

    assert list(prefetch(range(3))) == [0, 1, 2]
