"""How many segments go through a network together."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch

_Segment = TypeVar("_Segment")

_MOST = 32
"""Beyond so many segments a pass nothing is gained."""


class BatchFit:
    """The batch size for a device, found once by what fits into its memory.

    On the CPU it is 1: more segments at once leave the caches, and each of them takes longer. On CUDA the first
    segment goes alone, and the memory that it takes tells how many fit into what is free. Other devices don't
    tell, and get 8. The estimates are the same at any size.
    """

    def __init__(self) -> None:
        self._found: dict[torch.device, int] = {}

    def batches(
        self, segments: Sequence[_Segment], device: torch.device, size: int | None
    ) -> Iterator[Sequence[_Segment]]:
        """The segments in batches; each must have gone through the network before the next is asked for.

        Args:
            segments: Whatever stands for a segment.
            device: Where the network runs.
            size: Batch size; None to find one.

        Example:
            >>> list(BatchFit().batches("abcde", torch.device("cpu"), size=2))
            ['ab', 'cd', 'e']
        """
        first = 0
        while first < len(segments):
            now = size or self._found.get(device) or {"cpu": 1, "cuda": 1}.get(device.type, 8)
            measure = device.type == "cuda" and not size and device not in self._found
            if measure:
                torch.cuda.reset_peak_memory_stats(device)
                held = torch.cuda.memory_allocated(device)
            yield segments[first : first + now]
            if measure:
                needed = torch.cuda.max_memory_allocated(device) - held
                free, _ = torch.cuda.mem_get_info(device)
                reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
                self._found[device] = fitting(needed, free + reusable)
            first += now


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
