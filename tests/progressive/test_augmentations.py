"""Views: each is undone exactly, they differ, and only views of one length share a call."""

import math

import pytest
import torch
from torch import Tensor

from mdx_progressive.progressive.augmentations import (
    IDENTITY,
    Augmentation,
    AugmentationCycle,
    NoAugmentation,
    _stretch_lengths,
)
from mdx_progressive.progressive.combine import Mean
from mdx_progressive.progressive.methods import Progressive
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.schedules import Linear
from mdx_progressive.runtime.errors import MdxError
from tests.support.known_separators import BATCH, RATE, LinearSeparator, mixture, passes_of

EVERY = [
    IDENTITY,
    Augmentation(shift=1.3),
    Augmentation(flip=True),
    Augmentation(swap=True),
    Augmentation(side_gain=2.0),
    Augmentation(gain=0.25),
    Augmentation(time_stretch=1.25),
    Augmentation(time_stretch=1.03),
    Augmentation(shift=0.7, flip=True, swap=True, side_gain=0.5, gain=3.0, time_stretch=1.06),
]


@pytest.mark.parametrize("view", EVERY)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_view_is_undone_exactly(view: Augmentation, channels: int) -> None:
    signal = mixture()[:, :channels].double()

    heard = view.apply(signal, RATE)

    torch.testing.assert_close(view.invert(heard, RATE, signal.shape[-1]), signal, rtol=1e-12, atol=1e-12)
    assert heard.shape[-1] - round(view.shift * RATE) >= view.time_stretch * signal.shape[-1]
    if view.time_stretch == 1:
        assert heard.shape[-1] == signal.shape[-1] + round(view.shift * RATE)


@pytest.mark.parametrize("time", [1, 2, 97, 441_000, 10_583_999])
@pytest.mark.parametrize("time_stretch", [1.02, 1.25, 1.333, 2.0])
def test_slower_is_padded_little_and_to_lengths_that_transform_fast(time_stretch: float, time: int) -> None:
    padded, played = _stretch_lengths(time_stretch, time)

    assert time <= padded <= max(time + 100, time * (1 + 1 / 60))
    assert played / padded == pytest.approx(time_stretch, abs=0.01)
    for length in (padded, played):
        odd = length // (length & -length)
        assert odd < 200 * 128


def test_slower_is_lower_and_as_loud() -> None:
    time = torch.arange(400, dtype=torch.float64)
    tone = torch.sin(2 * torch.pi * 0.1 * time)[None, None]

    heard = Augmentation(time_stretch=1.25).apply(tone, RATE)

    expected = torch.sin(2 * torch.pi * 0.08 * torch.arange(500, dtype=torch.float64))
    torch.testing.assert_close(heard[0, 0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("view", EVERY)
def test_a_separator_that_commutes_with_it_does_not_notice(view: Augmentation) -> None:
    passes = passes_of(LinearSeparator(0.5, 0.9), mixture())

    plain, seen = passes.separate(mixture()[:, None], [IDENTITY, view])

    torch.testing.assert_close(seen, plain)


def test_what_is_heard_is_what_the_view_says() -> None:
    left, right = mixture()[0]

    assert torch.equal(Augmentation(swap=True).apply(mixture(), RATE)[0], torch.stack([right, left]))
    assert torch.equal(Augmentation(flip=True).apply(mixture(), RATE), -mixture())
    assert torch.equal(Augmentation(shift=1.0).apply(mixture(), RATE)[..., RATE:], mixture())
    wide = Augmentation(side_gain=2.0).apply(mixture(), RATE)[0]
    torch.testing.assert_close(wide[0] - wide[1], 2 * (left - right))
    torch.testing.assert_close(wide[0] + wide[1], left + right)


def test_views_of_one_length_go_through_the_separator_together() -> None:
    separator = LinearSeparator(0.5, 0.9)
    passes = passes_of(separator, mixture())

    result = passes.separate(
        mixture()[:, None],
        [IDENTITY, Augmentation(shift=1.0), Augmentation(flip=True), Augmentation(shift=1.0, swap=True)],
    )
    passes.separate(
        mixture()[:, None],
        [Augmentation(time_stretch=1.5), Augmentation(time_stretch=2.0), Augmentation(time_stretch=1.5, flip=True)],
    )

    assert [len(heard) for heard in separator.inputs] == [2 * BATCH, 2 * BATCH, 2 * BATCH, BATCH]
    assert len(result) == 4
    assert passes.count == 7


def test_an_input_for_each_source_makes_as_many_passes() -> None:
    passes = passes_of(LinearSeparator(0.5, 0.9), mixture())

    passes.separate(mixture()[:, None].expand(-1, 2, -1, -1))

    assert passes.count == 2


def test_a_rotation_never_takes_a_view_twice_and_begins_with_the_plain_one() -> None:
    rotation = AugmentationCycle(first=4, each=2, span=5.0)

    views = [view for step in range(4) for view in rotation.at(step)]

    assert views[0] == IDENTITY
    assert len(set(views)) == len(views) == 4 + 3 * 2
    assert all(0 <= view.shift < 5 for view in views)
    assert {(view.flip, view.swap) for view in views[:4]} == {(a, b) for a in (False, True) for b in (False, True)}


def test_the_shifts_of_any_beginning_cover_the_span_evenly() -> None:
    shifts = torch.tensor([view.shift for view in AugmentationCycle(first=13, span=1.0).at(0)])

    for count in (3, 5, 8, 13):
        gaps = torch.cat([shifts[:count].sort().values, torch.ones(1)]).diff()
        assert gaps.max() < 2.7 / count


def test_shifts_are_spread_over_the_span_of_the_separator_unless_they_have_one() -> None:
    plan = AugmentationCycle(first=4, each=2)

    assert [view.shift for view in plan.for_span(5.85).at(1)] == [
        view.shift for view in AugmentationCycle(first=4, each=2, span=5.85).at(1)
    ]
    assert AugmentationCycle(span=1.0).for_span(5.85).at(1) == AugmentationCycle(span=1.0).at(1)
    assert [view.shift for view in plan.at(0)] == [0.0] * 4  # As long as nothing is known of a separator.
    assert list(NoAugmentation().for_span(5.85).at(3)) == [IDENTITY]


def test_a_method_takes_the_span_of_its_separator() -> None:
    y = mixture()

    def run(method: Progressive, span: float) -> list[Tensor]:
        separator = LinearSeparator(0.5, 0.9)
        passes = Passes(separator, y, ["low", "high"], RATE, span=span)
        list(method.run(passes, separator(y[:, None]), None))
        return separator.inputs

    default = Progressive(Linear(0.5), 2, augmentations=AugmentationCycle(first=2, each=2), combine=Mean())
    given = Progressive(Linear(0.5), 2, augmentations=AugmentationCycle(first=2, each=2, span=0.3), combine=Mean())

    for one, other in zip(run(default, 0.3), run(given, 9.0), strict=True):
        assert torch.equal(one, other)
    assert [len(each[0, 0, 0]) for each in run(default, 0.6)] != [len(each[0, 0, 0]) for each in run(default, 0.3)]


def test_levels_widths_and_speeds_are_taken_in_turn() -> None:
    rotation = AugmentationCycle(
        first=6, gains=[1.0, 0.5, 2.0], side_gains=[1.0, 2.0], time_stretch=[1.0, 1.0, 1.02], flip=False, swap=False
    )
    views = rotation.at(0)

    assert [view.gain for view in views] == [1.0, 0.5, 2.0, 1.0, 0.5, 2.0]
    assert [view.time_stretch for view in views] == [1.0, 1.0, 1.02, 1.0, 1.0, 1.02]
    assert [view.side_gain for view in views] == [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]
    assert not any(view.flip or view.swap for view in views)


def test_one_view_is_the_plain_one() -> None:
    assert list(NoAugmentation().at(3)) == [IDENTITY]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Augmentation(shift=-1), "shift"),
        (lambda: Augmentation(gain=0), "gain"),
        (lambda: Augmentation(side_gain=math.nan), "side_gain"),
        (lambda: Augmentation(time_stretch=0.9), "slows down"),
        (lambda: AugmentationCycle(time_stretch=[1.0, 0.5]).at(1), "slows down"),
        (lambda: AugmentationCycle(first=0), "at least one"),
        (lambda: AugmentationCycle(span=-1), "span"),
        (lambda: AugmentationCycle(gains=[0.5]), "gains"),
        (lambda: AugmentationCycle(side_gains=[1.0, 0.0]), "side_gains"),
        (lambda: Mean(later=0), "later"),
    ],
)
def test_a_parameter_outside_its_range_is_named(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(MdxError, match=named):
        make()


def test_the_mean_of_views_has_the_error_that_its_variance_tells() -> None:
    """MSE(mean) = mean MSE - variance: what averaging gains is read without a reference."""
    truth = mixture()
    generator = torch.Generator().manual_seed(5)
    passes = truth + 0.1 * torch.randn(6, *truth.shape, generator=generator)

    def error(estimate: Tensor) -> float:
        return (estimate - truth).square().mean().item()

    mean = Mean()([passes[:4], passes[4:]])

    each = sum(error(one) for one in passes) / 6
    variance = (passes - mean).square().mean().item()
    assert error(mean) == pytest.approx(each - variance, rel=1e-4)
