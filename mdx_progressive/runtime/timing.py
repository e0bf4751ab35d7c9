"""Computing time, on devices too that are still at work when a call has returned."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class Stopwatch:
    """Adds up seconds of computing, without what the device was still doing before.

    Args:
        device: The device that computes.

    Example:
        >>> import torch
        >>> watch = Stopwatch(torch.device("cpu"))
        >>> with watch.measure():
        ...     _ = torch.ones(3).sum()
        >>> watch.seconds > 0
        True
    """

    def __init__(self, device: "torch.device") -> None:
        self.device = device
        self.seconds = 0.0

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Measure what runs within, until the device has finished it too."""
        self._synchronise()
        begin = time.perf_counter()
        yield
        self._synchronise()
        self.seconds += time.perf_counter() - begin

    def measure_items(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items, of which none is None; the time between one and the call for the next one does not count."""
        iterator = iter(items)
        while True:
            with self.measure():
                item = next(iterator, None)
            if item is None:
                return
            yield item

    def _synchronise(self) -> None:
        if self.device.type != "cpu":
            import torch

            torch.accelerator.synchronize(self.device)


def device_name(device: "torch.device") -> str:
    """The name of a device in tables: its model as far as CUDA tells, else its kind."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
