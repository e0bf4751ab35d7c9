"""How passes become one estimate: what a guarded mean does where a pass loses a source."""

import pytest
import torch
from torch import Tensor

from mdx_progressive.progressive.combine import GuardedMean, Mean
from mdx_progressive.runtime.errors import MdxError

RATE = 800
SECONDS = 10


def noise(seed: int) -> Tensor:
    """Estimates (batch, source, channel, time) of the same energy everywhere."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 2, SECONDS * RATE, generator=generator).sign()


def test_passes_that_find_as_much_or_more_count_as_in_the_mean() -> None:
    first, louder = noise(0)[None], torch.stack([noise(0), -1.5 * noise(0)])

    guarded = GuardedMean(later=3.0).for_rate(RATE)([first, louder])

    torch.testing.assert_close(guarded, Mean(later=3.0)([first, louder]))


def test_a_pass_counts_less_only_where_it_lost_a_source() -> None:
    first, good, lost = noise(0), noise(1), noise(2)
    half = SECONDS * RATE // 2
    lost[1, 2, :, half:] *= 0.1

    guarded = GuardedMean(later=3.0, window=0.75).for_rate(RATE)([first[None], torch.stack([good, lost])])

    def mean(share: float) -> Tensor:
        return (first + 3 * good + 3 * share * lost) / (1 + 3 + 3 * share)

    edge = RATE  # The energies are smoothed over less than a second.
    plain = GuardedMean(later=3.0).for_rate(RATE)([first[None], torch.stack([good, noise(2)])])
    torch.testing.assert_close(guarded[0], plain[0])
    torch.testing.assert_close(guarded[1, :2], plain[1, :2])
    torch.testing.assert_close(guarded[1, 2, :, : half - edge], plain[1, 2, :, : half - edge])
    lost_there = guarded[1, 2, :, half + edge :]
    torch.testing.assert_close(lost_there, mean(0.01)[1, 2, :, half + edge :], atol=5e-3, rtol=0)


def test_all_channels_of_a_source_share_a_weight() -> None:
    first, later = noise(0)[:1], 0.5 * noise(1)[:1]
    later[:, :, 0] = 0

    guarded = GuardedMean().for_rate(RATE)([first[None], later[None]])

    share = (guarded - first) / (later - first)
    torch.testing.assert_close(share[:, :, 0], share[:, :, 1], atol=1e-3, rtol=0)


@pytest.mark.parametrize("time", [1, 2, 37, 38, 599, 601])
def test_short_chunks_and_silence(time: int) -> None:
    first, later = noise(0)[..., :time], noise(0)[..., :time].clone()
    silent = torch.zeros_like(first)

    combine = GuardedMean(later=2.0).for_rate(RATE)

    torch.testing.assert_close(combine([first[None], later[None]]), first)
    assert not combine([silent[None], silent[None]]).any()
    torch.testing.assert_close(combine([silent[None], later[None]]), 2 / 3 * later)
    torch.testing.assert_close(combine([first[None], silent[None]]), first, atol=1e-4, rtol=1e-4)


def test_settings_out_of_their_range() -> None:
    with pytest.raises(MdxError, match="window of the guarded mean"):
        GuardedMean(window=0.0)
    with pytest.raises(MdxError, match="weight of later passes"):
        GuardedMean(later=0.0)
