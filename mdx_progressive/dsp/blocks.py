"""Blocks: what is too long to be separated at once is cut so that the joins can't be told from the rest."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class ReceptiveField(NamedTuple):
    """How much context a separator needs around a block, in samples.

    Args:
        grid: Blocks start at multiples of it, so that the network's segments lie in a block as in the whole.
        before: Context before the first sample whose estimate is kept.
        crossfade: Length of the crossfade between a block and the next.
        after: Context after the last sample whose estimate is kept.
    """

    grid: int
    before: int
    crossfade: int
    after: int


class Block(NamedTuple):
    """A part of a chunk that is separated at once, in samples of the chunk.

    Args:
        number: Its number, from 0.
        start: First sample of its input, with the context before it.
        stop: End of its input, with the context after it.
        begin: First sample whose estimate is kept; a crossfade with the block before starts here.
        end: End of the samples whose estimates are kept.
    """

    number: int
    start: int
    stop: int
    begin: int
    end: int

    def kept(self, estimates: Tensor) -> Tensor:
        """The block's estimates (..., time) without those of the context."""
        return estimates[..., self.begin - self.start : self.end - self.start]


def plan_blocks(length: int, size: int | None, receptive_field: ReceptiveField) -> list[Block]:
    """Plan the blocks of a chunk; a single one if the chunk is hardly longer than a block.

    Args:
        length: Length of the chunk in samples.
        size: Samples from one block to the next, rounded down to whole grids, at least one grid and at least a
            crossfade; None for a single block.
        receptive_field: The context that the separator needs.

    Example:
        >>> plan_blocks(10, 5, ReceptiveField(grid=2, before=1, crossfade=1, after=1))[0]
        Block(number=0, start=0, stop=7, begin=0, end=6)
        >>> blocks = plan_blocks(10, 5, ReceptiveField(2, 1, 1, 1))
        >>> [(block.start, block.begin, block.end, block.stop) for block in blocks]
        [(0, 0, 6, 7), (4, 5, 10, 10)]
    """
    grid, before, crossfade, after = receptive_field
    # A block shorter than a crossfade would fade in and out at the same samples.
    stride = length if size is None else grid * max(1, size // grid, -(-crossfade // grid))
    blocks: list[Block] = []
    start = 0
    while True:
        begin = start + before if blocks else 0
        end = start + stride + before + crossfade
        if end + after >= length:
            return [*blocks, Block(len(blocks), start, length, begin, length)]
        blocks.append(Block(len(blocks), start, end + after, begin, end))
        start += stride


def join_blocks(parts: Iterable[Tensor], crossfade: int) -> Iterator[Tensor]:
    """Crossfade consecutive blocks into one signal, returned in parts.

    Args:
        parts: The kept estimates of each block, in order.
        crossfade: Length of the crossfades in samples, as planned by `plan_blocks`.

    Shape:
        - parts and results: (..., time)

    Example:
        >>> joined = join_blocks([torch.tensor([1.0, 1.0, 1.0]), torch.tensor([2.0, 2.0])], crossfade=1)
        >>> torch.cat(list(joined)).tolist()
        [1.0, 1.0, 1.5, 2.0]
    """
    tail: Tensor | None = None
    for part in parts:
        rest = part
        if tail is not None:
            length = tail.shape[-1]
            rise = (torch.arange(length, device=part.device) + 0.5) / max(1, length)
            yield torch.lerp(tail, part[..., :length], rise.to(part))
            rest = part[..., length:]
        split = max(0, rest.shape[-1] - crossfade)
        yield rest[..., :split]
        tail = rest[..., split:]
    if tail is not None:
        yield tail
