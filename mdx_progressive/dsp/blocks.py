"""Cutting what is too long to be separated at once into blocks, so that their joins can't be told from the rest."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class ReceptiveField(NamedTuple):
    """How far a separator listens around what it estimates, in samples.

    Args:
        grid: Blocks begin at multiples of it, so that the segments of the network lie in a block where they lie in the
            whole.
        before: What a block hears before the first sample that it stands for.
        crossfade: Over how much a block fades into the next.
        after: What it hears after the last sample that it stands for.
    """

    grid: int
    before: int
    crossfade: int
    after: int


class Block(NamedTuple):
    """A stretch of a chunk that is separated at once, in samples of the chunk.

    Args:
        number: Its number, from 0.
        start: The first sample that it hears.
        stop: The end of what it hears.
        begin: The first sample that it stands for; from here on it fades in, if another one is before it.
        end: The end of what it stands for.
    """

    number: int
    start: int
    stop: int
    begin: int
    end: int

    def kept(self, estimates: Tensor) -> Tensor:
        """What it stands for, out of its estimates (..., time)."""
        return estimates[..., self.begin - self.start : self.end - self.start]


BlockPlanner = Callable[[int], list[Block]]
"""The blocks of a chunk of so many samples."""


def plan_blocks(length: int, size: int | None, receptive_field: ReceptiveField) -> list[Block]:
    """The blocks of a chunk, in order; one where all of it is hardly longer than a block.

    Args:
        length: Length of the chunk in samples.
        size: Samples from one block to the next, taken to whole grids, at least one, and at least a crossfade;
            None for one block.
        receptive_field: How far the separator listens.

    Example:
        >>> plan_blocks(10, 5, ReceptiveField(grid=2, before=1, crossfade=1, after=1))[0]
        Block(number=0, start=0, stop=7, begin=0, end=6)
        >>> planned = plan_blocks(10, 5, ReceptiveField(2, 1, 1, 1))
        >>> [(block.start, block.begin, block.end, block.stop) for block in planned]
        [(0, 0, 6, 7), (4, 5, 10, 10)]
    """
    found: list[Block] = []
    # Shorter than a crossfade, a block would still crossfade in where it has to crossfade out.
    grids = (
        0
        if size is None
        else max(1, size // receptive_field.grid, -(-receptive_field.crossfade // receptive_field.grid))
    )
    start, stride = 0, grids * receptive_field.grid or length
    while True:
        begin = start + receptive_field.before if found else 0
        end = start + stride + receptive_field.before + receptive_field.crossfade
        if end + receptive_field.after >= length:
            return [*found, Block(len(found), start, length, begin, length)]
        found.append(Block(len(found), start, end + receptive_field.after, begin, end))
        start += stride


def join_blocks(parts: Iterable[Tensor], crossfade: int) -> Iterator[Tensor]:
    """What the blocks stand for made one again, piece by piece.

    Args:
        parts: What each block stands for, in order.
        crossfade: Samples over which they crossfade into each other, as planned by `plan_blocks`.

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
