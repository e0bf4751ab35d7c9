"""Corrections: what each of them promises, on separators whose errors are known."""

import pytest
import torch
from torch import Tensor

from mdx_progressive.progressive.augmentations import AugmentationCycle
from mdx_progressive.progressive.combine import Mean
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.corrections.complement import Complement
from mdx_progressive.progressive.corrections.repetition import Repetition
from mdx_progressive.progressive.corrections.self_remix import SelfRemix
from mdx_progressive.progressive.corrections.variance import CovarianceShrinkage
from mdx_progressive.progressive.methods import Progressive
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.schedules import Constant, Linear
from mdx_progressive.progressive.trajectory import Trajectory
from mdx_progressive.runtime.errors import MdxError
from tests.support.known_separators import LinearSeparator, passes_of, run

TIME = 3 * 8192


def loud(seed: int = 0, batch: int = 2, sources: int = 2) -> Tensor:
    return 0.1 * torch.randn(batch, sources, 2, TIME, generator=torch.Generator().manual_seed(seed))


class _SeparatedAgain(Correction):
    """Each estimate is separated once more."""

    needs_all_sources = False

    def passes(self, sources: int) -> int:
        return sources

    def __call__(self, passes: Passes, path: Trajectory, estimates: Tensor) -> Tensor:
        return passes.separate(estimates)[0]


EVERY = [
    Complement("accompaniment"),
    CovarianceShrinkage(),
    Repetition(),
    SelfRemix(),
    _SeparatedAgain(),
]


def heard(passes: Passes, *takes: Tensor) -> Trajectory:
    """A path whose passes are given."""
    return Trajectory(torch.stack(takes), Mean())


def test_a_complement_makes_the_estimates_add_up_to_the_mixture() -> None:
    estimates, y = loud(0), loud(1)[:, 0]
    passes = passes_of(LinearSeparator(1.0, 1.0), y)

    corrected = Complement("vocals")(passes, heard(passes, estimates), estimates)

    torch.testing.assert_close(corrected[:, 1], estimates[:, 1])
    torch.testing.assert_close(corrected.sum(dim=1), y, atol=1e-5, rtol=0)


def test_what_one_source_gains_wherever_another_loses_it_is_moved_back() -> None:
    """Every pass moves something else from one source to the other."""
    truth = loud(0) * torch.tensor([1.0, 0.5]).view(1, 2, 1, 1)
    moved = [loud(seed, sources=1) * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1) for seed in range(1, 5)]
    takes = [truth + each for each in moved]
    passes, mean = passes_of(LinearSeparator(1.0, 1.0), truth.sum(dim=1)), torch.stack(takes).mean(dim=0)
    path = heard(passes, *takes)

    def error(estimates: Tensor) -> float:
        return (estimates - truth).norm().item()

    # The mean of four has a fourth of their covariance; M holds it too, so that a little more is right.
    filtered = error(CovarianceShrinkage(strength=0.5, bands=4)(passes, path, mean))

    assert filtered < 0.95 * error(mean)
    for strength in (0.05, 5.0):
        assert filtered < error(CovarianceShrinkage(strength, bands=4)(passes, path, mean))


def test_shrinkage_of_one_source_is_the_wiener_gain() -> None:
    estimates = loud(0, sources=1)
    passes = passes_of(LinearSeparator(1.0), estimates[:, 0], ["vocals"])
    path = heard(passes, estimates + loud(3, sources=1), estimates - loud(3, sources=1))

    shrunk = CovarianceShrinkage(strength=3.0, bands=1)(passes, path, estimates)

    # M = s^2 and V = 2 s^2, so the gain is 1 / (1 + 6).
    torch.testing.assert_close(shrunk, estimates / 7, atol=1e-2 * 0.1, rtol=0.05)


def test_passes_that_agree_are_left_alone() -> None:
    estimates = loud(0)
    passes = passes_of(LinearSeparator(1.0, 1.0), estimates.sum(dim=1))

    kept = CovarianceShrinkage()(passes, heard(passes, estimates, estimates), estimates)

    torch.testing.assert_close(kept, estimates, atol=1e-6, rtol=0)


@pytest.mark.parametrize("correction", EVERY)
def test_every_correction_keeps_shape_and_silence_and_makes_the_passes_that_it_states(correction: Correction) -> None:
    for y in (loud(0)[:, 0], torch.zeros(1, 2, TIME), 0.1 * torch.ones(1, 1, 100)):
        passes = passes_of(LinearSeparator(0.5, 0.3), y)
        path = Trajectory(passes.separate(y[:, None], AugmentationCycle(first=2, span=0.0).at(0)), Mean())
        before, y_before, estimates = passes.count, y.clone(), path.estimates.clone()

        corrected = correction(passes, path, path.estimates)

        assert corrected.shape == estimates.shape
        assert corrected.isfinite().all()
        assert passes.count - before == correction.passes(2)
        assert torch.equal(path.estimates, estimates)
        assert torch.equal(y, y_before)
        if not y.any():
            assert not corrected.any()


@pytest.mark.parametrize("correction", EVERY)
def test_a_batch_gives_what_its_items_give_alone(correction: Correction) -> None:
    method = Progressive(
        Linear(0.5), 1, augmentations=AugmentationCycle(first=2, span=0.0), combine=Mean(), corrections=[correction]
    )
    y = loud(0)[:, 0]

    together = run(method, LinearSeparator(0.5, 0.3), y)[0][-1].estimates

    for item in range(len(y)):
        alone = run(method, LinearSeparator(0.5, 0.3), y[item : item + 1])[0][-1].estimates
        torch.testing.assert_close(together[item : item + 1], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("correction", EVERY)
def test_only_the_last_step_is_corrected_and_its_passes_are_counted(correction: Correction) -> None:
    plain = Progressive(Linear(0.5), 2)
    method = Progressive(Linear(0.5), 2, corrections=[correction])
    y = loud(0)[:, 0]

    separator = LinearSeparator(0.5, 0.3)
    steps, made = run(method, separator, y)
    uncorrected, _ = run(plain, LinearSeparator(0.5, 0.3), y)

    assert made == method.passes(2) == 1 + 2 * 2 + correction.passes(2)
    assert sum(seen.shape[0] * seen.shape[1] for seen in separator.inputs) == made * len(y)
    assert method.needs_all_sources == correction.needs_all_sources
    for step, before in zip(steps[:-1], uncorrected, strict=False):
        assert torch.equal(step.estimates, before.estimates)


def test_estimates_that_are_corrected_at_each_step_are_blended_in() -> None:
    y, halving = loud(0)[:, 0], LinearSeparator(0.5, 0.5)
    method = Progressive(Constant(0.5), 2, step_corrections=[_SeparatedAgain()])

    steps, made = run(method, halving, y)

    # x = y / 2, separated again y / 4; blended in, y (1 + 1/4) / 2 gives 5/16 y, separated again 5/32 y; and so on.
    factors = [1 / 4]
    for _ in range(2):
        factors.append((1 + factors[-1]) / 8)
    for step, factor in zip(steps, factors, strict=True):
        torch.testing.assert_close(step.estimates, factor * y[:, None].expand(-1, 2, -1, -1))
    assert made == method.passes(2) == 1 + 2 * 2 + 3 * 2


def test_what_steps_have_blended_in_is_no_variance() -> None:
    """Views of one step differ by nothing here, its steps by much."""
    y = loud(0)[:, 0]
    views = AugmentationCycle(first=2, each=1, span=0.0, flip=False, swap=False)
    plain = Progressive(Constant(0.6), 1, augmentations=views, combine=Mean())
    corrected = Progressive(Constant(0.6), 1, augmentations=views, combine=Mean(), corrections=[CovarianceShrinkage()])

    (before, _), (after, _) = (run(method, LinearSeparator(0.5, 0.3), y) for method in (plain, corrected))

    torch.testing.assert_close(after[-1].estimates, before[-1].estimates, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: CovarianceShrinkage(bands=0), "band"),
        (lambda: CovarianceShrinkage(strength=-1), "strength"),
        (lambda: run(Progressive(Linear(), 0, corrections=[Complement("drums")]), LinearSeparator(1, 1), loud()[:, 0]),
         r"drums, only vocals, accompaniment"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_named(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(MdxError, match=named):
        make()
