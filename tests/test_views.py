"""Views: each is undone exactly, they differ, and only views of one length share a call."""

import math

import pytest
import torch
from torch import Tensor

from mdx_progressive.combine import ExponentialMean, Mean
from mdx_progressive.errors import MdxError
from mdx_progressive.views import PLAIN, OneView, Rotation, View, _lengths
from tests.known_separators import BATCH, RATE, LinearSeparator, mixture, passes_of

EVERY = [
    PLAIN,
    View(shift=1.3),
    View(flip=True),
    View(swap=True),
    View(width=2.0),
    View(gain=0.25),
    View(slower=1.25),
    View(slower=1.03),
    View(shift=0.7, flip=True, swap=True, width=0.5, gain=3.0, slower=1.06),
]


@pytest.mark.parametrize("view", EVERY)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_view_is_undone_exactly(view: View, channels: int) -> None:
    signal = mixture()[:, :channels].double()

    heard = view.of(signal, RATE)

    torch.testing.assert_close(view.undo(heard, RATE, signal.shape[-1]), signal, rtol=1e-12, atol=1e-12)
    assert heard.shape[-1] - round(view.shift * RATE) >= view.slower * signal.shape[-1]
    if view.slower == 1:
        assert heard.shape[-1] == signal.shape[-1] + round(view.shift * RATE)


@pytest.mark.parametrize("time", [1, 2, 97, 441_000, 10_583_999])
@pytest.mark.parametrize("slower", [1.02, 1.25, 1.333, 2.0])
def test_slower_is_padded_little_and_to_lengths_that_transform_fast(slower: float, time: int) -> None:
    padded, played = _lengths(slower, time)

    assert time <= padded <= max(time + 100, time * (1 + 1 / 60))
    assert played / padded == pytest.approx(slower, abs=0.01)
    for length in (padded, played):
        odd = length // (length & -length)
        assert odd < 200 * 128


def test_slower_is_lower_and_as_loud() -> None:
    time = torch.arange(400, dtype=torch.float64)
    tone = torch.sin(2 * torch.pi * 0.1 * time)[None, None]

    heard = View(slower=1.25).of(tone, RATE)

    expected = torch.sin(2 * torch.pi * 0.08 * torch.arange(500, dtype=torch.float64))
    torch.testing.assert_close(heard[0, 0], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("view", EVERY)
def test_a_separator_that_commutes_with_it_does_not_notice(view: View) -> None:
    passes = passes_of(LinearSeparator(0.5, 0.9), mixture())

    plain, seen = passes.over(mixture()[:, None], [PLAIN, view])

    torch.testing.assert_close(seen, plain)


def test_what_is_heard_is_what_the_view_says() -> None:
    left, right = mixture()[0]

    assert torch.equal(View(swap=True).of(mixture(), RATE)[0], torch.stack([right, left]))
    assert torch.equal(View(flip=True).of(mixture(), RATE), -mixture())
    assert torch.equal(View(shift=1.0).of(mixture(), RATE)[..., RATE:], mixture())
    wide = View(width=2.0).of(mixture(), RATE)[0]
    torch.testing.assert_close(wide[0] - wide[1], 2 * (left - right))
    torch.testing.assert_close(wide[0] + wide[1], left + right)


def test_views_of_one_length_go_through_the_separator_together() -> None:
    separator = LinearSeparator(0.5, 0.9)
    passes = passes_of(separator, mixture())

    result = passes.over(mixture()[:, None], [PLAIN, View(shift=1.0), View(flip=True), View(shift=1.0, swap=True)])
    passes.over(mixture()[:, None], [View(slower=1.5), View(slower=2.0), View(slower=1.5, flip=True)])

    assert [len(heard) for heard in separator.inputs] == [2 * BATCH, 2 * BATCH, 2 * BATCH, BATCH]
    assert len(result) == 4
    assert passes.count == passes.inputs == 7


def test_an_input_for_each_source_counts_once_for_each_of_them() -> None:
    passes = passes_of(LinearSeparator(0.5, 0.9), mixture())

    passes.over(mixture()[:, None].expand(-1, 2, -1, -1))

    assert (passes.count, passes.inputs) == (1, 2)


def test_a_rotation_never_takes_a_view_twice_and_begins_with_the_plain_one() -> None:
    rotation = Rotation(first=4, each=2, span=5.0)

    views = [view for step in range(4) for view in rotation.at(step)]

    assert views[0] == PLAIN
    assert len(set(views)) == len(views) == 4 + 3 * 2
    assert all(0 <= view.shift < 5 for view in views)
    assert {(view.flip, view.swap) for view in views[:4]} == {(a, b) for a in (False, True) for b in (False, True)}


def test_the_shifts_of_any_beginning_cover_the_span_evenly() -> None:
    shifts = torch.tensor([view.shift for view in Rotation(first=13, span=1.0).at(0)])

    for count in (3, 5, 8, 13):
        gaps = torch.cat([shifts[:count].sort().values, torch.ones(1)]).diff()
        assert gaps.max() < 2.7 / count


def test_levels_widths_and_speeds_are_taken_in_turn() -> None:
    rotation = Rotation(
        first=6, levels=[1.0, 0.5, 2.0], widths=[1.0, 2.0], slower=[1.0, 1.0, 1.02], flip=False, swap=False
    )
    views = rotation.at(0)

    assert [view.gain for view in views] == [1.0, 0.5, 2.0, 1.0, 0.5, 2.0]
    assert [view.slower for view in views] == [1.0, 1.0, 1.02, 1.0, 1.0, 1.02]
    assert [view.width for view in views] == [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]
    assert not any(view.flip or view.swap for view in views)


def test_one_view_is_the_plain_one() -> None:
    assert list(OneView().at(3)) == [PLAIN]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: View(shift=-1), "shift"),
        (lambda: View(gain=0), "gain"),
        (lambda: View(width=math.nan), "width"),
        (lambda: View(slower=0.9), "faster"),
        (lambda: Rotation(slower=[1.0, 0.5]).at(1), "faster"),
        (lambda: Rotation(first=0), "at least one"),
        (lambda: Rotation(span=-1), "span"),
        (lambda: Rotation(levels=[0.5]), "levels"),
        (lambda: Rotation(widths=[1.0, 0.0]), "widths"),
        (lambda: Mean(later=0), "later"),
        (lambda: ExponentialMean(decay=1), "decay"),
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
