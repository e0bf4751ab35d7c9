"""Schedules: formulas, bounds, and what they refuse."""

import math

import pytest
import torch

from mdx_progressive.progressive.schedules import (
    Constant,
    Cosine,
    Explicit,
    Exponential,
    FlowShift,
    Formula,
    Karras,
    KarrasFlow,
    Linear,
    PerSource,
    Polyexponential,
    Power,
    Schedule,
    Sigmoid,
    SmoothStep,
    VariancePreserving,
)
from mdx_progressive.runtime.errors import MdxError

EXACT = [
    Linear,
    Power,
    Cosine,
    Sigmoid,
    SmoothStep,
    Exponential,
    Polyexponential,
    VariancePreserving,
    FlowShift,
    KarrasFlow,
]
RISING = [*EXACT, Karras]


@pytest.mark.parametrize("kind", [Constant, *RISING])
@pytest.mark.parametrize("steps", [0, 1, 2, 9, 50])
def test_every_schedule_begins_with_the_plain_pass_and_stays_within_its_maximum(
    kind: type[Formula], steps: int
) -> None:
    weights = kind(maximum=0.8).weights(steps)

    assert weights.shape == (steps + 1,)
    assert weights[0] == 0
    assert weights.min() >= 0
    assert weights.max() <= 0.8 + 1e-12


@pytest.mark.parametrize("kind", RISING)
def test_rising_schedules_rise(kind: type[Formula]) -> None:
    assert (kind(maximum=0.8).weights(9).diff() > 0).all()


@pytest.mark.parametrize("kind", [Constant, *EXACT])
def test_the_last_weight_is_the_maximum(kind: type[Formula]) -> None:
    assert kind(maximum=0.7).weights(5)[-1].item() == pytest.approx(0.7, abs=1e-12)


def test_linear_is_the_founding_studys_row_of_weights() -> None:
    assert Linear(0.9).weights(9).tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def test_karras_is_edms_equation_5_as_k_diffusion_writes_it() -> None:
    n, sigma_min, sigma_max, rho = 10, 0.002, 80.0, 7.0
    ramp = torch.linspace(0, 1, n, dtype=torch.float64)
    sigmas = (sigma_max ** (1 / rho) + ramp * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho

    relative = Karras(0.9, kappa=sigma_min / sigma_max, rho=rho).weights(n - 1)
    flow = KarrasFlow(1 / (1 + sigma_min), sigma_max=sigma_max, rho=rho).weights(n - 1)

    torch.testing.assert_close(relative, 0.9 * (1 - sigmas / sigma_max))
    torch.testing.assert_close(flow[1:], 1 / (1 + sigmas[1:]))


def test_karras_depends_on_the_ratio_of_its_noise_levels_alone() -> None:
    assert Karras(0.9, kappa=0.1, rho=1).weights(4).tolist() == pytest.approx([0, 0.2025, 0.405, 0.6075, 0.81])


def test_exponential_adds_equally_many_decibels_a_step() -> None:
    decibels = -20 * torch.log10(1 - Exponential(0.9).weights(4))

    torch.testing.assert_close(decibels, torch.tensor([0, 5, 10, 15, 20], dtype=torch.float64))


def test_polyexponential_is_k_diffusions() -> None:
    n, sigma_min, rho = 6, 0.1, 3.0
    ramp = torch.linspace(1, 0, n, dtype=torch.float64) ** rho
    sigmas = torch.exp(ramp * (math.log(1.0) - math.log(sigma_min)) + math.log(sigma_min))

    torch.testing.assert_close(Polyexponential(1 - sigma_min, rho=rho).weights(n - 1), 1 - sigmas)


def test_variance_preserving_has_the_noise_of_k_diffusions() -> None:
    n, beta_d, beta_min = 8, 19.9, 0.1
    time = torch.linspace(1, 0, n, dtype=torch.float64)
    sigmas = torch.sqrt(torch.exp(beta_d * time**2 / 2 + beta_min * time) - 1)
    noise = sigmas / torch.sqrt(1 + sigmas**2)  # of x = sqrt(alpha) x_0 + sqrt(1 - alpha) noise

    torch.testing.assert_close(VariancePreserving(0.7).weights(n - 1), 0.7 * (1 - noise / noise[0]))


@pytest.mark.parametrize(
    ("general", "special"),
    [
        (Power(0.8, exponent=1), Linear(0.8)),
        (SmoothStep(0.8, sharpness=1, delay=2), Power(0.8, exponent=2)),
        (Polyexponential(0.8, rho=1), Exponential(0.8)),
        (FlowShift(0.8, shift=1), Linear(0.8)),
        (Sigmoid(0.8, slope=1e-4), Linear(0.8)),
    ],
)
def test_a_general_schedule_holds_the_special_one(general: Schedule, special: Schedule) -> None:
    torch.testing.assert_close(general.weights(7), special.weights(7), atol=1e-6, rtol=0)


def test_cosine_is_slow_at_both_ends_and_symmetric() -> None:
    weights = Cosine(0.6).weights(6)

    torch.testing.assert_close(weights + weights.flip(0), torch.full_like(weights, 0.6))
    assert weights[1] < 0.1 < weights[2]


def test_explicit_takes_as_many_steps_as_weights() -> None:
    schedule = Explicit([0.1, 0.5])

    assert schedule.weights(schedule.default_steps).tolist() == [0.0, 0.1, 0.5]
    with pytest.raises(MdxError, match="2 weights, but was asked for 3 steps"):
        schedule.weights(3)


def test_a_schedule_per_source_is_that_of_the_source() -> None:
    schedule = PerSource({"vocals": Explicit([0.1, 0.5]), "accompaniment": Linear(0.4)})

    assert schedule.default_steps == 2
    assert schedule.weights(2, "vocals").tolist() == [0.0, 0.1, 0.5]
    assert schedule.weights(2, "accompaniment").tolist() == pytest.approx([0.0, 0.2, 0.4])
    with pytest.raises(MdxError, match="no schedule for the source bass, only for vocals, accompaniment"):
        schedule.weights(2, "bass")
    with pytest.raises(MdxError, match="2 weights, but was asked for 3 steps"):
        schedule.check(3)


@pytest.mark.parametrize("maximum", [-0.1, 1.0, 1.5, math.nan])
def test_a_maximum_outside_its_range_is_refused(maximum: float) -> None:
    with pytest.raises(MdxError, match="maximum"):
        Linear(maximum)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Karras(kappa=0), "kappa"),
        (lambda: Karras(rho=0), "rho"),
        (lambda: KarrasFlow(maximum=0), "maximum"),
        (lambda: KarrasFlow(sigma_max=0.01), "sigma_max"),
        (lambda: Explicit([]), "an empty list"),
        (lambda: Power(exponent=0), "exponent"),
        (lambda: Sigmoid(slope=-1), "slope"),
        (lambda: SmoothStep(sharpness=0), "sharpness"),
        (lambda: SmoothStep(delay=0), "delay"),
        (lambda: Polyexponential(rho=0), "rho"),
        (lambda: VariancePreserving(beta_min=2, beta_max=1), "beta_min"),
        (lambda: FlowShift(shift=0), "shift"),
        (lambda: Explicit([0.2, 1.0]), "1.0"),
        (lambda: Linear().weights(-1), "-1"),
        (lambda: PerSource({}), "at least one source"),
    ],
)
def test_a_parameter_outside_its_range_is_named(make: object, named: str) -> None:
    assert callable(make)
    with pytest.raises(MdxError, match=named):
        make()
