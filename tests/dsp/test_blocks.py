"""Blocks: what is too long to be separated at once, cut and joined again."""

import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import Tensor

from mdx_progressive.dsp.blocks import Block, ReceptiveField, join_blocks, plan_blocks

REACHES = some.builds(
    ReceptiveField,
    some.integers(1, 50),
    before=some.integers(0, 60),
    crossfade=some.integers(0, 20),
    after=some.integers(0, 60),
)
SIZES = some.none() | some.integers(1, 300)


@given(some.integers(1, 2000), SIZES, REACHES)
def test_cut_and_joined_a_signal_is_itself(length: int, size: int | None, receptive_field: ReceptiveField) -> None:
    signal = torch.arange(1.0, length + 1)[None]

    parts = [block.kept(signal[:, block.start : block.stop]) for block in plan_blocks(length, size, receptive_field)]

    torch.testing.assert_close(torch.cat(list(join_blocks(parts, receptive_field.crossfade)), dim=-1), signal)


@given(some.integers(1, 2000), SIZES, REACHES)
def test_each_block_hears_what_the_separator_needs_around_it(
    length: int, size: int | None, receptive_field: ReceptiveField
) -> None:
    plan = plan_blocks(length, size, receptive_field)

    assert [block.number for block in plan] == list(range(len(plan)))
    for block in plan:
        assert block.start % receptive_field.grid == 0
        assert 0 <= block.start <= block.begin < block.end <= block.stop <= length
        assert block.start == 0 or block.begin - block.start >= receptive_field.before
        assert block.stop == length or block.stop - block.end >= receptive_field.after
        if size is not None:
            longest = (
                max(size, receptive_field.grid + receptive_field.crossfade)
                + receptive_field.before
                + receptive_field.crossfade
                + receptive_field.after
            )
            assert block.stop - block.start <= longest


def test_a_fade_goes_from_one_block_to_the_next() -> None:
    def part(level: float, samples: int) -> Tensor:
        return torch.full((1, samples), level)

    whole = torch.cat(list(join_blocks([part(0.0, 6), part(1.0, 7)], crossfade=4)), dim=-1)

    assert whole.tolist() == [[0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 1.0, 1.0, 1.0]]


def test_without_a_size_there_is_one_block() -> None:
    assert plan_blocks(10**6, None, ReceptiveField(grid=7, before=3, crossfade=2, after=3)) == [
        Block(0, 0, 10**6, 0, 10**6)
    ]
