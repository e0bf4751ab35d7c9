"""Search: what each score measures, what is chosen, what it costs, and where the truth may be used."""

import math

import pytest
import torch
from torch import Tensor

from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.progressive.augmentations import Augmentation
from mdx_progressive.progressive.search import (
    Agreement,
    Interference,
    MissedTarget,
    OracleScore,
    Region,
    Residual,
    Score,
    Search,
    Weighted,
)
from mdx_progressive.runtime.errors import MdxError
from tests.support.known_separators import SOURCES, LinearSeparator, PerfectSeparator, mixture, passes_of, run, stems

EVERY: list[Score] = [
    OracleScore(),
    Agreement(),
    MissedTarget(),
    Interference(),
    Residual(),
    Weighted([MissedTarget(), Interference(), Residual()]),
]
FREE = [
    Agreement(augmentation=Augmentation(flip=True)),
    MissedTarget(),
    Interference(),
    Residual(),
    Weighted([MissedTarget(), Interference(), Residual()]),
]


class Worsening:
    """Gives the stems; after the plain pass with more and more noise, a fixed kind for each call."""

    def __init__(self, truth: Tensor, noises: list[float]) -> None:
        self.truth, self.noises = truth, noises
        self.calls = 0

    def __call__(self, mixtures: Tensor) -> Tensor:
        copies = len(mixtures) // len(self.truth)
        generator = torch.Generator().manual_seed(9)
        noise = torch.randn(self.truth.shape, generator=generator, dtype=self.truth.dtype)
        start = 0 if self.calls == 0 else 1 + (self.calls - 1) * copies
        self.calls += 1
        return torch.cat([self.truth + 0.1 * self.noises[start + copy] * noise for copy in range(copies)])


def test_the_truth_picks_the_candidate_with_the_highest_si_sdr() -> None:
    truth = stems()
    separate = Worsening(truth, [1.0, 0.8, 0.3, 0.6])

    steps, _ = run(Search(OracleScore(), weights=[0.1, 0.2, 0.3], steps=1), separate, truth.sum(dim=1), truth)

    expected = Worsening(truth, [0.3])(truth[:, :1])
    torch.testing.assert_close(steps[1].estimates, expected)
    assert math.isnan(steps[1].weights[0].item())


def test_what_is_there_already_is_kept_where_nothing_is_better_and_no_more_passes_are_made() -> None:
    truth = stems()
    separate = Worsening(truth, [0.2, 0.8, 0.3, 0.6])
    method = Search(OracleScore(), weights=[0.1, 0.2, 0.3], steps=4)

    steps, made = run(method, separate, truth.sum(dim=1), truth)

    for step in steps:
        torch.testing.assert_close(step.estimates, steps[0].estimates)
    assert made == 1 + 3 * 2
    assert made < method.passes(2)


@pytest.mark.parametrize("score", FREE)
def test_a_score_without_references_prefers_what_is_right(score: Score) -> None:
    truth = stems()
    passes = passes_of(PerfectSeparator(truth), truth.sum(dim=1))
    leaky = truth + 0.3 * truth.flip(1)
    candidates = torch.stack([0.6 * truth, truth, leaky])

    found = score.decibels(passes, candidates, None, Region())

    assert found.shape == (3, *truth.shape[:2], 1, 1)
    # What is only too quiet does not leak, and what leaks misses nothing.
    for candidate in [2] if isinstance(score, Interference) else [0] if isinstance(score, MissedTarget) else [0, 2]:
        assert (found[1] > found[candidate] + 3).all()


def test_the_scores_as_they_are_written() -> None:
    y, gains = mixture(), torch.tensor([0.5, 0.9]).view(1, -1, 1, 1)
    passes, candidates = passes_of(LinearSeparator(0.5, 0.9), y), stems().float().unsqueeze(0)

    def ratio(whole: Tensor, error: Tensor) -> Tensor:
        return 10 * torch.log10(whole.square().sum(dim=(-2, -1)) / error.square().sum(dim=(-2, -1)))

    def found(score: Score) -> Tensor:
        return score.decibels(passes, candidates, None, Region())[0, ..., 0, 0]

    x = candidates[0]
    torch.testing.assert_close(found(Interference()), ratio(x, x - gains * x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found(MissedTarget()), ratio(x, gains * (y[:, None] - x)), atol=1e-4, rtol=1e-4)
    residual = (y - x.sum(dim=1))[:, None].expand_as(x)
    torch.testing.assert_close(found(Residual()), ratio(y[:, None].expand_as(x), residual), atol=1e-4, rtol=1e-4)
    again = gains * (0.7 * y[:, None] + 0.3 * x)
    torch.testing.assert_close(
        found(Agreement(0.3, Augmentation(flip=True))), ratio(x, x - again), atol=1e-4, rtol=1e-4
    )
    both = Weighted([Interference(), MissedTarget()], weights=[2.0, 0.5])
    torch.testing.assert_close(
        found(both), 2 * found(Interference()) + 0.5 * found(MissedTarget()), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("score", EVERY)
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_a_search_makes_no_more_passes_than_it_states(score: Score, temperature: float) -> None:
    truth = stems()
    method = Search(score, weights=[0.2, 0.5], steps=2, temperature=temperature)

    steps, made = run(method, LinearSeparator(0.5, 0.9), truth.sum(dim=1).float(), truth.float())

    assert len(steps) == 3
    assert made <= method.passes(2) == 1 + 2 * 2 * (2 + 3 * score.passes)
    if temperature:
        assert made == method.passes(2)


def test_soft_weights_mix_the_candidates() -> None:
    truth = stems()

    hard, _ = run(Search(OracleScore(), [0.2], 1), Worsening(truth, [1.0, 0.9]), truth.sum(dim=1), truth)
    soft, _ = run(
        Search(OracleScore(), [0.2], 1, temperature=1e9), Worsening(truth, [1.0, 0.9]), truth.sum(dim=1), truth
    )

    torch.testing.assert_close(hard[1].estimates, Worsening(truth, [0.9])(truth[:, :1]))
    torch.testing.assert_close(soft[1].estimates, Worsening(truth, [0.95])(truth[:, :1]))


def test_channels_and_stretches_choose_for_themselves() -> None:
    """The candidate is better on the left, and in the second half of the right."""
    first, truth = torch.full((1, 2, 2, 64), 0.9), torch.ones(1, 2, 2, 64)
    truth[..., ::2] *= -1
    first = first * truth
    first[..., 1::4] *= 0.5
    better, worse = 0.99 * truth, 0.1 * truth.abs()
    candidate = torch.cat([better[:, :, :1], torch.cat([worse[:, :, 1:, :32], better[:, :, 1:, 32:]], dim=-1)], dim=2)
    answers = [first, candidate]

    def separate(_: Tensor) -> Tensor:
        return answers.pop(0)

    region = Region(seconds=4.0, per_channel=True)  # 32 samples at the 8 Hz of these tests
    steps, _ = run(Search(OracleScore(), [0.2], 1, region=region), separate, truth.sum(dim=1), truth)

    chosen = steps[1].estimates
    torch.testing.assert_close(chosen[:, :, 0], candidate[:, :, 0])
    torch.testing.assert_close(chosen[:, :, 1, :12], first[:, :, 1, :12])  # apart from where they crossfade
    torch.testing.assert_close(chosen[:, :, 1, -12:], candidate[:, :, 1, -12:])


@pytest.mark.parametrize("seconds", [None, 1.0, 7.0, 40.0])
def test_each_choice_holds_in_the_middle_of_its_stretch(seconds: float | None) -> None:
    time, rate = 30, 1
    region = Region(seconds=seconds)
    stretches = region.energy(torch.ones(1, 1, 1, 1, time), rate).shape[-1]

    spread = region.spread(torch.arange(float(stretches)).expand(1, 1, 1, 1, -1), time, rate)

    length = time if seconds is None else min(time, int(seconds))
    assert spread.shape == (1, 1, 1, 1, time)
    for number in range(stretches):
        middle = number * length + length // 2
        if middle < time:
            assert abs(float(spread[..., middle]) - number) <= 0.5 / length


def test_the_oracle_score_is_si_sdr() -> None:
    truth, noise = torch.randn(2, 1, 2, 2, 64, generator=torch.Generator().manual_seed(0))
    candidates = torch.stack([0.3 * truth + level * noise for level in (0.05, 0.3, 3.0)])
    passes = passes_of(lambda x: x, truth.sum(dim=1))

    scores = OracleScore().decibels(passes, candidates, truth, Region(per_channel=True))

    # Without torchmetrics' epsilon.
    gain = (candidates * truth).sum(-1, keepdim=True) / truth.square().sum(-1, keepdim=True)
    target = gain * truth
    expected = 10 * torch.log10(target.square().sum(-1) / (candidates - target).square().sum(-1))
    torch.testing.assert_close(scores[..., 0], expected, rtol=1e-4, atol=1e-3)


def test_a_batch_gives_what_its_items_give_alone() -> None:
    method = Search(Weighted([MissedTarget(), Residual()]), weights=[0.2, 0.5], steps=2, region=Region(seconds=2.0))
    y = mixture()

    together = run(method, LinearSeparator(0.5, 0.9), y)[0][-1].estimates

    for item in range(len(y)):
        alone = run(method, LinearSeparator(0.5, 0.9), y[item : item + 1])[0][-1].estimates
        torch.testing.assert_close(together[item : item + 1], alone)


def test_the_truth_is_refused_in_predict() -> None:
    method = Search(Weighted([MissedTarget(), OracleScore()]))

    assert method.needs_references
    with pytest.raises(MdxError, match=r"Search.*needs the references; `test` runs it"):
        ProgressiveDemixing(None, method)  # type: ignore[arg-type]
    with pytest.raises(MdxError, match=r"OracleScore needs the references.*predict"):
        run(method, LinearSeparator(0.5, 0.9), mixture())


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Search(MissedTarget(), weights=[]), "weights"),
        (lambda: Search(MissedTarget(), weights=[1.0]), "weights"),
        (lambda: Search(MissedTarget(), steps=-1), "steps"),
        (lambda: Search(MissedTarget(), temperature=-1), "temperature"),
        (lambda: Region(seconds=0), "seconds"),
        (lambda: Agreement(weight=1), "weight"),
        (lambda: Weighted([]), "Weighted"),
        (lambda: Weighted([MissedTarget()], [1.0, 2.0]), "2 for 1"),
    ],
)
def test_a_parameter_outside_its_range_is_named(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(MdxError, match=named):
        make()


def test_silence_gives_no_nan() -> None:
    for score in EVERY:
        steps, _ = run(
            Search(score, [0.3], 1), LinearSeparator(0.5, 0.9), torch.zeros(1, 2, 16), torch.zeros(1, 2, 2, 16), SOURCES
        )
        assert (steps[-1].estimates == 0).all()
