"""Stopping where the passes of a step don't agree better: its measure, and which sources go on."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mdx_progressive.agreement import agreement
from mdx_progressive.combine import Mean
from mdx_progressive.corrections import Repetition
from mdx_progressive.errors import MdxError
from mdx_progressive.methods import Progressive
from mdx_progressive.progressive import Halves
from mdx_progressive.schedules import Constant
from mdx_progressive.views import OneView, Rotation
from tests.known_separators import BATCH, CHANNELS, SOURCES, TIME, LinearSeparator, mixture, of_sources, run

VIEWS = Rotation(first=1, each=2, span=0.0, flip=False, swap=False)


class UnsureSeparator:
    """Half of what it hears, and at each step errors of opposite sign in the two views, of a given part of its energy.

    Args:
        parts: For each step and source that part; it may be a tensor (batch,).
    """

    def __init__(self, *parts: Sequence[float | Tensor]) -> None:
        self.parts = [torch.stack([torch.as_tensor(part).expand(BATCH) for part in of_step], 1) for of_step in parts]
        self.calls = 0

    def __call__(self, mixtures: Tensor, heard_in: Sequence[int] | None = None) -> Tensor:
        # The two views of a step come together, the plain pass before all of them comes alone.
        estimates = 0.5 * of_sources(mixtures, heard_in).expand(-1, len(SOURCES), -1, -1)
        if self.calls:
            sign = torch.tensor([1.0, -1.0]).repeat_interleave(BATCH)
            error = sign[:, None] * self.parts[self.calls - 1].repeat(2, 1)
            estimates = estimates * (1 + error[..., None, None])
        self.calls += 1
        return estimates


def stopped(separate: UnsureSeparator, steps: int, stop: float | None) -> Tensor:
    method = Progressive(Constant(0.5), steps, views=VIEWS, stop=stop)
    return torch.stack([step.estimates for step in run(method, separate, mixture())[0]])


def test_agreement_is_the_energy_over_the_variance() -> None:
    source = torch.randn(1, 2, CHANNELS, TIME)
    part = torch.tensor([0.1, 0.5]).view(1, 2, 1, 1)
    passes = torch.stack([source * (1 + part), source, source * (1 - part)])

    expected = [-20 * math.log10(0.1), -20 * math.log10(0.5)]  # the variance: (1 + 0 + 1) / 2 of part^2
    assert agreement(passes).tolist() == [pytest.approx(expected, abs=1e-3)]


def test_passes_that_are_one_agree_more_than_any_others_and_silence_is_no_number_apart() -> None:
    same = torch.ones(3, 1, 2, 1, 8) * torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1)

    one, silent = agreement(same)[0].tolist()

    assert one > 100
    assert silent == 0


def test_each_source_goes_on_as_long_as_its_passes_agree_better() -> None:
    # The vocals agree better by 6 dB at the second step, the accompaniment worse; at the third both agree best.
    parts: list[list[float | Tensor]] = [[0.2, 0.2], [0.1, 0.3], [0.01, 0.01]]

    free, kept = (stopped(UnsureSeparator(*parts), 3, stop) for stop in (None, 1.0))

    torch.testing.assert_close(kept[:2], free[:2])
    torch.testing.assert_close(kept[2, :, 0], free[2, :, 0])
    torch.testing.assert_close(kept[2, :, 1], free[1, :, 1])
    # It is blended in as it was: x_3 of the accompaniment is what x_2 would have been.
    torch.testing.assert_close(kept[3, :, 0], free[3, :, 0])
    torch.testing.assert_close(kept[3, :, 1], free[2, :, 1])


def test_the_margin_is_in_decibels() -> None:
    better = 10 ** (-1.0 / 20)  # by 1 dB

    for stop, goes_on in ((0.9, True), (1.1, False)):
        found = stopped(UnsureSeparator([0.2, 0.2], [0.2 * better, 0.2 * better]), 2, stop)
        assert torch.equal(found[2], found[1]) is not goes_on


def test_each_chunk_of_a_batch_decides_for_itself() -> None:
    later = torch.tensor([0.1, 0.3, 0.1])

    found = stopped(UnsureSeparator([0.2, 0.2], [later, 0.3]), 2, 1.0)

    for chunk, goes_on in enumerate([True, False, True]):
        assert torch.equal(found[2, chunk, 0], found[1, chunk, 0]) is not goes_on
    assert torch.equal(found[2, :, 1], found[1, :, 1])


def test_corrections_see_the_passes_that_were_kept() -> None:
    seen: list[list[Tensor]] = []

    class Watching(Repetition):
        def __call__(self, passes: object, path: object, estimates: Tensor) -> Tensor:
            seen.append([each.clone() for each in path.passes])  # type: ignore[attr-defined]
            return estimates

    method = Progressive(Constant(0.5), 2, views=VIEWS, each_step=[Watching()], stop=1.0)
    run(method, UnsureSeparator([0.2, 0.2], [0.1, 0.3]), mixture())

    (first,), (second,) = seen[1:]
    assert torch.equal(second[:, :, 1], first[:, :, 1])
    assert not torch.equal(second[:, :, 0], first[:, :, 0])


def test_it_makes_the_passes_that_it_states() -> None:
    method = Progressive(Constant(0.9), 3, Halves(), VIEWS, stop=1.0)

    _, made = run(method, LinearSeparator(0.5, 0.9), mixture())

    assert made == method.passes == 1 + 3 * 2


@pytest.mark.parametrize("views", [OneView(), Rotation(first=4, each=1)])
def test_steps_of_one_view_have_nothing_to_agree(views: OneView | Rotation) -> None:
    with pytest.raises(MdxError, match=r"stop compares .*two views or more at each step.*each: 3"):
        Progressive(Constant(0.9), 2, views=views, combine=Mean(), stop=1.0)
    Progressive(Constant(0.9), 0, views=views, combine=Mean(), stop=1.0)  # an ensemble has no step that could stop
