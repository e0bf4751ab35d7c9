"""How many segments go through a network together."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from mdx_progressive.runtime import is_out_of_memory, keep_layer_memory, release_freed_memory, release_layer_memory

log = logging.getLogger(__name__)

Segment = TypeVar("Segment")
Estimates = TypeVar("Estimates")

_LARGEST = 32
"""Larger batches gain nothing."""
_RELEASE_AFTER = 16
"""Segments after which the memory of layers is released: to map it again takes little beside their time."""


class BatchSizeFinder:
    """The batch size for a device, found once by what fits into its memory.

    On the CPU it is 1: larger batches leave the caches, and each segment takes longer. On CUDA the first segment runs
    alone, and the memory that it takes tells how many fit into what is free. Other devices don't report their memory
    and get 8. If a batch does not fit after all, it is halved from then on. The estimates are the same at any size.
    """

    def __init__(self) -> None:
        self._found: dict[torch.device, int] = {}
        self._limits: dict[torch.device, int] = {}
        """Sizes that fitted where larger ones did not."""
        self._since_release = 0

    def run(
        self,
        segments: Sequence[Segment],
        device: torch.device,
        size: int | None,
        network: Callable[[Sequence[Segment]], Estimates],
    ) -> Iterator[tuple[Sequence[Segment], Estimates]]:
        """Run segments through a network in batches; yields each batch with its estimates.

        With a size of None it is found. The network is called again with half of a batch that does not fit into memory;
        the error of a single segment that does not fit is raised.

        Example:
            >>> batches = BatchSizeFinder().run("abcde", torch.device("cpu"), 2, lambda batch: batch.upper())
            >>> [estimates for _, estimates in batches]
            ['AB', 'CD', 'E']
        """
        first = 0
        while first < len(segments):
            measure = device.type == "cuda" and not size and device not in self._found
            if measure:
                torch.cuda.reset_peak_memory_stats(device)
                before = torch.cuda.memory_allocated(device)
            batch, estimates = self._run_largest(segments[first : first + self._size(device, size)], device, network)
            if measure:
                needed = torch.cuda.max_memory_allocated(device) - before
                free, _ = torch.cuda.mem_get_info(device)
                reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
                self._found[device] = largest_batch(needed, free + reusable)
            yield batch, estimates
            first += len(batch)
        self._since_release += len(segments)
        if self._since_release >= _RELEASE_AFTER:
            release_layer_memory()
            self._since_release = 0

    def _size(self, device: torch.device, setting: int | None) -> int:
        size = setting or self._found.get(device) or {"cpu": 1, "cuda": 1}.get(device.type, 8)
        return min(size, self._limits.get(device, size))

    def _run_largest(
        self, batch: Sequence[Segment], device: torch.device, network: Callable[[Sequence[Segment]], Estimates]
    ) -> tuple[Sequence[Segment], Estimates]:
        """Run as much of a batch, from its beginning, as fits into memory."""
        size, released = len(batch), device.type != "cpu"
        while True:
            try:
                with keep_layer_memory():
                    estimates = network(batch)
            except Exception as error:
                if not is_out_of_memory(error) or (released and len(batch) == 1):
                    raise
                batch = batch[: max(1, len(batch) // 2)]
            else:
                if len(batch) < size:
                    self._limits[device] = len(batch)
                    log.warning("%d segments at once do not fit into the memory of %s: continuing with %d",
                                size, device, len(batch))  # fmt: skip
                return batch, estimates
            release_freed_memory()  # Outside of `except`: the error would keep the pass's tensors.
            released = True


def largest_batch(needed: int, free: int) -> int:
    """How many segments of `needed` bytes fit into `free` bytes, a fifth of which is left to the rest of the run.

    Example:
        >>> [largest_batch(10**9, 10**10), largest_batch(10**9, free=10**8), largest_batch(10**6, free=10**11)]
        [8, 1, 32]
    """
    return min(_LARGEST, max(1, int(0.8 * free) // max(1, needed)))
