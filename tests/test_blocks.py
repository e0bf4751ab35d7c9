"""Blocks: what is too long to be separated at once, cut and joined again."""

import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor

from mdx_progressive.blocks import Block, Reach, blocks, joined

REACHES = some.builds(
    Reach, some.integers(1, 50), before=some.integers(0, 60), fade=some.integers(0, 20), after=some.integers(0, 60)
)
SIZES = some.none() | some.integers(1, 300)


@given(some.integers(1, 2000), SIZES, REACHES)
def test_cut_and_joined_a_signal_is_itself(length: int, size: int | None, reach: Reach) -> None:
    signal = torch.arange(1.0, length + 1)[None]

    parts = [block.kept(signal[:, block.start : block.stop]) for block in blocks(length, size, reach)]

    torch.testing.assert_close(torch.cat(list(joined(parts, reach.fade)), dim=-1), signal)


@given(some.integers(1, 2000), SIZES, REACHES)
def test_each_block_hears_what_the_separator_needs_around_it(length: int, size: int | None, reach: Reach) -> None:
    plan = blocks(length, size, reach)

    assert [block.number for block in plan] == list(range(len(plan)))
    for block in plan:
        assert block.start % reach.grid == 0
        assert 0 <= block.start <= block.begin < block.end <= block.stop <= length
        assert block.start == 0 or block.begin - block.start >= reach.before
        assert block.stop == length or block.stop - block.end >= reach.after
        if size is not None:
            longest = max(size, reach.grid + reach.fade) + reach.before + reach.fade + reach.after
            assert block.stop - block.start <= longest


def test_a_fade_goes_from_one_block_to_the_next() -> None:
    def part(level: float, samples: int) -> Tensor:
        return torch.full((1, samples), level)

    whole = torch.cat(list(joined([part(0.0, 6), part(1.0, 7)], fade=4)), dim=-1)

    assert whole.tolist() == [[0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 1.0, 1.0, 1.0]]


def test_without_a_size_there_is_one_block() -> None:
    assert blocks(10**6, None, Reach(grid=7, before=3, fade=2, after=3)) == [Block(0, 0, 10**6, 0, 10**6)]
