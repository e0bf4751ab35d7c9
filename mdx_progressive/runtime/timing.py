"""How long computing takes, on devices that are handed their work before it is done too."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


class Stopwatch:
    """Adds up the seconds in which it runs; what the device was given before and has yet to do does not count.

    Args:
        device: What computes.

    Example:
        >>> watch = Stopwatch(torch.device("cpu"))
        >>> with watch.running():
        ...     _ = torch.ones(3).sum()
        >>> watch.seconds > 0
        True
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let it run, until the device has done all that it was given meanwhile."""
        self._synchronise()
        begin = time.perf_counter()
        yield
        self._synchronise()
        self.seconds += time.perf_counter() - begin

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Hand on items, of which none is None; it runs while they are made, and stands while they are used."""
        made = iter(items)
        while True:
            with self.running():
                item = next(made, None)
            if item is None:
                return
            yield item

    def _synchronise(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


def device_name(device: torch.device) -> str:
    """What a device is called in tables: by its model, as far as CUDA tells, else by its kind.

    Args:
        device: The device.
    """
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
