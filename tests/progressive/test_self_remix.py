"""Rehearsal: what a separator does to a mixture of its estimates is undone."""

import pytest
import torch
from torch import Tensor

from mdx_progressive.progressive.corrections.self_remix import SelfRemix
from mdx_progressive.runtime.errors import MdxError
from tests.support.known_separators import LeakySeparator, passes_of, path_of

TIME = 1 << 16
SPLIT = 6000
"""The bin of the whole signal between the two sources; its band is cut by none of the bins that rehearsals look at."""


def music(seed: int = 0, batch: int = 2) -> Tensor:
    return 0.1 * torch.randn(batch, 2, TIME, generator=torch.Generator().manual_seed(seed))


def rehearsed(separate: LeakySeparator, y: Tensor, rehearsal: SelfRemix) -> tuple[Tensor, Tensor]:
    """The plain pass, and what the rehearsal makes of it."""
    passes = passes_of(separate, y)
    path = path_of(passes)
    return path.estimates, rehearsal(passes, path, path.estimates)


def error(estimates: Tensor, truth: Tensor) -> Tensor:
    return ((estimates - truth).square().sum(dim=(-2, -1)) / truth.square().sum(dim=(-2, -1))).amax()


def test_the_estimates_of_a_perfect_separator_stay_as_they_are() -> None:
    before, after = rehearsed(LeakySeparator([[1.0, 0.0], [0.0, 1.0]], SPLIT), music(), SelfRemix(strength=1.0))

    assert error(after, before) < 1e-4


def test_what_a_separator_takes_too_little_of_is_given_back() -> None:
    y = music()
    truth = LeakySeparator([[1.0, 0.0], [0.0, 1.0]], SPLIT)(y[:, None])

    before, after = rehearsed(LeakySeparator([[0.5, 0.0], [0.0, 0.8]], SPLIT), y, SelfRemix(strength=1.0, ridge=1e-6))

    assert error(before, truth) > 0.2
    assert error(after, truth) < 1e-3


def test_the_strength_tells_how_much_of_it() -> None:
    y, halving = music(), LeakySeparator([[0.5, 0.0], [0.0, 1.0]], SPLIT)

    before, half = rehearsed(halving, y, SelfRemix(strength=0.5))
    _, whole = rehearsed(halving, y, SelfRemix(strength=1.0))

    torch.testing.assert_close(half, (before + whole) / 2, atol=1e-5, rtol=0)


def test_what_goes_over_to_another_source_is_taken_back() -> None:
    """A tenth of the highs lands in the lows, where the rehearsal finds a tenth of a tenth too little of it."""
    y = music()
    truth = LeakySeparator([[1.0, 0.0], [0.0, 1.0]], SPLIT)(y[:, None])
    leaky = LeakySeparator([[1.0, 0.0], [0.3, 0.7]], SPLIT)

    before, after = rehearsed(leaky, y, SelfRemix(strength=1.0))

    assert error(after[:, 1:], truth[:, 1:]) < 0.8 * error(before[:, 1:], truth[:, 1:])


@pytest.mark.parametrize("mixtures", [1, 3])
def test_each_mixture_is_one_pass_for_all_sources(mixtures: int) -> None:
    y = music(batch=1)
    passes = passes_of(LeakySeparator([[0.9, 0.1], [0.1, 0.9]], SPLIT), y)
    path = path_of(passes)
    before = passes.count

    rehearsal = SelfRemix(mixtures=mixtures)
    rehearsal(passes, path, path.estimates)

    assert passes.count - before == rehearsal.passes(2) == mixtures


def test_sources_meet_in_other_company() -> None:
    """The mixtures are made of the same estimates, but at no two of them, nor in the music, at the same time."""
    y, heard = music(batch=1), []
    separator = LeakySeparator([[1.0, 0.0], [0.0, 1.0]], SPLIT)

    def listen(mixtures: Tensor) -> Tensor:
        heard.append(mixtures)
        return separator(mixtures)

    passes = passes_of(listen, y)
    path = path_of(passes)

    SelfRemix(mixtures=2)(passes, path, path.estimates)

    song, *mixtures = (each[0, 0, 0] for each in heard)
    for mixture in mixtures:
        assert mixture.square().sum().item() == pytest.approx(song.square().sum().item(), rel=0.05)
        assert torch.corrcoef(torch.stack([song, mixture]))[0, 1] < 0.9
    assert torch.corrcoef(torch.stack(mixtures))[0, 1] < 0.9


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"mixtures": 0}, "mixture"), ({"bands": 0}, "band"), ({"strength": -1.0}, "strength"), ({"ridge": 0.0}, "ridge")],
)
def test_settings_that_can_not_be_are_named(settings: dict[str, float], named: str) -> None:
    with pytest.raises(MdxError, match=named):
        SelfRemix(**settings)  # type: ignore[arg-type]
