"""How many segments go through a network together."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from mdx_progressive.runtime import is_out_of_memory, keep_layer_memory, release_freed_memory, release_layer_memory

log = logging.getLogger(__name__)

_Segment = TypeVar("_Segment")
_Estimates = TypeVar("_Estimates")

_MOST = 32
"""Beyond so many segments a pass nothing is gained."""
_MANY = 16
"""Segments after which the memory of layers goes back: to have it mapped anew is little beside their time."""


class BatchFit:
    """The batch size for a device, found once by what fits into its memory.

    On the CPU it is 1: more segments at once leave the caches, and each of them takes longer. On CUDA the first
    segment goes alone, and the memory that it takes tells how many fit into what is free. Other devices don't
    tell, and get 8. Where that was too much after all, half as many go together from then on. The estimates are the
    same at any size.
    """

    def __init__(self) -> None:
        self._found: dict[torch.device, int] = {}
        self._most: dict[torch.device, int] = {}
        """What has fitted where more did not."""
        self._since = 0
        """Segments since the memory of layers was given back."""

    def over(
        self,
        segments: Sequence[_Segment],
        device: torch.device,
        size: int | None,
        network: Callable[[Sequence[_Segment]], _Estimates],
    ) -> Iterator[tuple[Sequence[_Segment], _Estimates]]:
        """The segments in batches, each with what the network makes of it.

        Args:
            segments: Whatever stands for a segment.
            device: Where the network runs.
            size: Batch size; None to find one.
            network: Runs a batch; it is called again with half of one that the memory does not hold.

        Raises:
            torch.OutOfMemoryError: If the memory does not hold a single segment; other libraries have other errors.

        Example:
            >>> [made for _, made in BatchFit().over("abcde", torch.device("cpu"), 2, lambda batch: batch.upper())]
            ['AB', 'CD', 'E']
        """
        first = 0
        while first < len(segments):
            measure = device.type == "cuda" and not size and device not in self._found
            if measure:
                torch.cuda.reset_peak_memory_stats(device)
                held = torch.cuda.memory_allocated(device)
            batch, made = self._halved(segments[first : first + self._size(device, size)], device, network)
            if measure:
                needed = torch.cuda.max_memory_allocated(device) - held
                free, _ = torch.cuda.mem_get_info(device)
                reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
                self._found[device] = fitting(needed, free + reusable)
            yield batch, made
            first += len(batch)
        self._since += len(segments)
        if self._since >= _MANY:
            release_layer_memory()
            self._since = 0

    def _size(self, device: torch.device, asked: int | None) -> int:
        size = asked or self._found.get(device) or {"cpu": 1, "cuda": 1}.get(device.type, 8)
        return min(size, self._most.get(device, size))

    def _halved(
        self, batch: Sequence[_Segment], device: torch.device, network: Callable[[Sequence[_Segment]], _Estimates]
    ) -> tuple[Sequence[_Segment], _Estimates]:
        """As much of a batch as the memory holds, from its beginning."""
        asked, spared = len(batch), device.type != "cpu"
        while True:
            try:
                with keep_layer_memory():
                    made = network(batch)
            except Exception as error:
                if not is_out_of_memory(error) or (spared and len(batch) == 1):
                    raise
                batch = batch[: max(1, len(batch) // 2)]
            else:
                if len(batch) < asked:
                    self._most[device] = len(batch)
                    log.warning("the memory of %s does not hold %d segments at once: it goes on with %d",
                                device, asked, len(batch))  # fmt: skip
                return batch, made
            release_freed_memory()  # Only now has the error let go of what the pass held.
            spared = True


def fitting(needed: int, free: int) -> int:
    """How many segments fit, with a fifth of the memory left to what else the run keeps.

    Args:
        needed: Bytes that one segment takes.
        free: Bytes that are free.

    Example:
        >>> fitting(needed=10**9, free=10**10), fitting(needed=10**9, free=10**8), fitting(needed=10**6, free=10**11)
        (8, 1, 32)
    """
    return min(_MOST, max(1, int(0.8 * free) // max(1, needed)))
