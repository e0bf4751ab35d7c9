"""Corrections: what each of them promises, on separators whose errors are known."""

import pytest
import torch
from torch import Tensor

from mdx_progressive.combine import Mean
from mdx_progressive.corrections import (
    CleanUp,
    Complement,
    Correction,
    CovarianceShrinkage,
    MixtureConsistency,
    Rehearsal,
    Repetition,
    ResidualSeparation,
    VarianceConsistency,
    VarianceShrinkage,
    Wiener,
)
from mdx_progressive.errors import MdxError
from mdx_progressive.methods import Progressive
from mdx_progressive.passes import Passes
from mdx_progressive.progressive import Path
from mdx_progressive.schedules import Constant, Linear
from mdx_progressive.views import Rotation
from tests.known_separators import LinearSeparator, passes_of, path_of, run

TIME = 3 * 8192
EVERY = [
    MixtureConsistency(),
    MixtureConsistency(power=1.0),
    VarianceConsistency(),
    VarianceShrinkage(),
    Complement("accompaniment"),
    CovarianceShrinkage(),
    Repetition(),
    Rehearsal(),
    ResidualSeparation(),
    CleanUp(),
    Wiener(),
]


def loud(seed: int = 0, batch: int = 2, sources: int = 2) -> Tensor:
    return 0.1 * torch.randn(batch, sources, 2, TIME, generator=torch.Generator().manual_seed(seed))


def heard(passes: Passes, *takes: Tensor) -> Path:
    """A path whose passes are given."""
    return Path(torch.stack(takes), Mean())


@pytest.mark.parametrize(
    "correction", [MixtureConsistency(), MixtureConsistency(2.0), VarianceConsistency(), Complement("vocals")]
)
def test_the_estimates_add_up_to_the_mixture(correction: Correction) -> None:
    estimates, y = loud(0), loud(1)[:, 0]
    passes = passes_of(LinearSeparator(1.0, 1.0), y)

    corrected = correction(passes, heard(passes, estimates, estimates + 0.3 * loud(2)), estimates)

    torch.testing.assert_close(corrected.sum(dim=1), y, atol=1e-5, rtol=0)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_consistency_shares_by_the_power_of_the_energies(power: float) -> None:
    estimates = loud(0) * torch.tensor([1.0, 2.0]).view(1, 2, 1, 1)
    passes = passes_of(LinearSeparator(1.0, 1.0), loud(1)[:, 0])

    moved = MixtureConsistency(power)(passes, heard(passes, estimates), estimates) - estimates

    energies = estimates.square().sum(dim=(-2, -1)) ** power
    torch.testing.assert_close(
        moved[:, 0] / moved[:, 1], (energies[:, 0] / energies[:, 1])[:, None, None].expand_as(moved[:, 0]),
        rtol=1e-2, atol=1e-2,
    )  # fmt: skip


def test_the_residual_goes_to_the_source_that_the_passes_disagree_on() -> None:
    estimates, y = loud(0), loud(1)[:, 0]
    passes = passes_of(LinearSeparator(1.0, 1.0), y)
    unsure = loud(2) * torch.tensor([1.0, 0.01]).view(1, 2, 1, 1)

    moved = VarianceConsistency()(passes, heard(passes, estimates + unsure, estimates - unsure), estimates) - estimates

    assert moved[:, 1].norm() < 0.01 * moved[:, 0].norm()


def test_bins_that_the_passes_agree_on_are_not_shrunk() -> None:
    estimates = loud(0)
    passes = passes_of(LinearSeparator(1.0, 1.0), estimates.sum(dim=1))

    agreed = VarianceShrinkage()(passes, heard(passes, estimates, estimates), estimates)
    noisy = VarianceShrinkage()(passes, heard(passes, estimates + loud(3), estimates - loud(3)), estimates)

    torch.testing.assert_close(agreed, estimates, atol=1e-5, rtol=0)
    # P = s^2, V = 2 s^2 for two passes: the gain is P / (P + V / 2) = 1 / 2.
    gain = (noisy * estimates).sum() / estimates.square().sum()
    assert gain.item() == pytest.approx(0.5, abs=0.05)  # of smoothed powers


def test_shrinkage_of_a_noisy_mean_brings_it_nearer_to_the_truth() -> None:
    truth = loud(0) * torch.linspace(0, 1, TIME)
    takes = [truth + 0.5 * loud(seed) for seed in (1, 2, 3)]
    passes = passes_of(LinearSeparator(1.0, 1.0), truth.sum(dim=1))
    mean = torch.stack(takes).mean(dim=0)

    shrunk = VarianceShrinkage()(passes, heard(passes, *takes), mean)

    assert (shrunk - truth).norm() < 0.97 * (mean - truth).norm()


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

    assert filtered < 0.95 * error(VarianceShrinkage()(passes, path, mean))
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


def test_the_residual_is_separated_and_added() -> None:
    y = loud(0)[:, 0]
    passes = passes_of(LinearSeparator(0.5, 0.3), y)
    path = path_of(passes)

    corrected = ResidualSeparation()(passes, path, path.estimates)

    factors = torch.tensor([0.5 + 0.2 * 0.5, 0.3 + 0.2 * 0.3]).view(1, 2, 1, 1)
    torch.testing.assert_close(corrected, factors * y[:, None])


def test_clean_up_separates_each_estimate_again() -> None:
    estimates = loud(0)
    passes = passes_of(LinearSeparator(0.5, 1.0), loud(1)[:, 0])

    corrected = CleanUp(strength=0.5)(passes, heard(passes, estimates), estimates)

    torch.testing.assert_close(corrected, torch.tensor([0.75, 1.0]).view(1, 2, 1, 1) * estimates)


def test_the_wiener_filter_separates_what_stands_at_different_places() -> None:
    """Estimates with leaks, of one source on the left and one on the right: the spatial covariances tell them apart."""
    left, right = loud(0)[:, 0].clone(), loud(1)[:, 0].clone()
    left[:, 1], right[:, 0] = 0, 0
    truth = torch.stack([left, right], dim=1)
    leaky = torch.einsum("st,btcn->bscn", torch.tensor([[0.8, 0.2], [0.2, 0.8]]), truth)
    passes = passes_of(LinearSeparator(1.0, 1.0), truth.sum(dim=1))

    filtered = Wiener(iterations=2, strength=1.0)(passes, heard(passes, leaky), leaky)

    assert (filtered - truth).norm() < 0.5 * (leaky - truth).norm()


@pytest.mark.parametrize("correction", EVERY)
def test_every_correction_keeps_shape_and_silence_and_makes_the_passes_that_it_states(correction: Correction) -> None:
    for y in (loud(0)[:, 0], torch.zeros(1, 2, TIME), 0.1 * torch.ones(1, 1, 100)):
        passes = passes_of(LinearSeparator(0.5, 0.3), y)
        path = Path(passes.over(y[:, None], Rotation(first=2, span=0.0).at(0)), Mean())
        before, y_before, estimates = passes.count, y.clone(), path.estimates.clone()

        corrected = correction(passes, path, path.estimates)

        assert corrected.shape == estimates.shape
        assert corrected.isfinite().all()
        assert passes.count - before == correction.passes
        assert torch.equal(path.estimates, estimates)
        assert torch.equal(y, y_before)
        if not y.any():
            assert not corrected.any()


@pytest.mark.parametrize("correction", EVERY)
def test_a_batch_gives_what_its_items_give_alone(correction: Correction) -> None:
    method = Progressive(Linear(0.5), 1, views=Rotation(first=2, span=0.0), combine=Mean(), corrections=[correction])
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

    assert made == method.passes == 3 + correction.passes
    assert sum(seen.shape[0] * seen.shape[1] for seen in separator.inputs) == method.inputs(2) * len(y)
    assert method.needs_others == correction.needs_others
    for step, before in zip(steps[:-1], uncorrected, strict=False):
        assert torch.equal(step.estimates, before.estimates)


def test_estimates_that_are_corrected_at_each_step_are_blended_in() -> None:
    y, halving = loud(0)[:, 0], LinearSeparator(0.5, 0.5)
    method = Progressive(Constant(0.5), 2, each_step=[CleanUp(strength=1.0)])

    steps, made = run(method, halving, y)

    # x = y / 2, cleaned up y / 4; blended in, y (1 + 1/4) / 2 gives 5/16 y, cleaned up 5/32 y; and so on.
    factors = [1 / 4]
    for _ in range(2):
        factors.append((1 + factors[-1]) / 8)
    for step, factor in zip(steps, factors, strict=True):
        torch.testing.assert_close(step.estimates, factor * y[:, None].expand(-1, 2, -1, -1))
    assert made == method.passes == 6


def test_what_steps_have_blended_in_is_no_disagreement() -> None:
    """Views of one step differ by nothing here, its steps by much."""
    y = loud(0)[:, 0]
    views = Rotation(first=2, each=1, span=0.0, flip=False, swap=False)
    plain = Progressive(Constant(0.6), 1, views=views, combine=Mean())
    corrected = Progressive(Constant(0.6), 1, views=views, combine=Mean(), corrections=[CovarianceShrinkage()])

    (before, _), (after, _) = (run(method, LinearSeparator(0.5, 0.3), y) for method in (plain, corrected))

    torch.testing.assert_close(after[-1].estimates, before[-1].estimates, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: MixtureConsistency(power=-1), "power"),
        (lambda: VarianceConsistency(strength=2), "strength"),
        (lambda: CovarianceShrinkage(bands=0), "band"),
        (lambda: CovarianceShrinkage(strength=-1), "strength"),
        (lambda: Wiener(iterations=0), "iteration"),
        (lambda: run(Progressive(Linear(), 0, corrections=[Complement("drums")]), LinearSeparator(1, 1), loud()[:, 0]),
         r"drums, only vocals, accompaniment"),
    ],
)  # fmt: skip
def test_what_can_not_be_is_named(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(MdxError, match=named):
        make()
