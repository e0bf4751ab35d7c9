"""Metrics: answers known by construction, and the written rule for silence."""

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from mdx_progressive.metrics import Known, Sdr, SiSdr, sdr, si_sdr, silent


def signals(seed: int = 0) -> tuple[Tensor, Tensor]:
    """References (batch, source, channel, time) and an orthogonal error of the same power."""
    generator = torch.Generator().manual_seed(seed)
    reference, error = torch.randn(2, 2, 3, 2, 4096, generator=generator, dtype=torch.float64)
    error -= (error * reference).sum(-1, keepdim=True) / reference.square().sum(-1, keepdim=True) * reference
    error *= (reference.square().sum(-1, keepdim=True) / error.square().sum(-1, keepdim=True)).sqrt()
    return reference, error


def nothing_silent(reference: Tensor) -> Tensor:
    return torch.zeros(reference.shape[:3], dtype=torch.bool)


@pytest.mark.parametrize("decibels", [-10.0, 0.0, 17.0])
def test_an_orthogonal_error_of_known_power_is_measured(decibels: float) -> None:
    reference, error = signals()
    estimate = reference + 10 ** (-decibels / 20) * error

    for metric in (si_sdr, sdr):
        values = metric(estimate, reference, nothing_silent(reference))
        torch.testing.assert_close(values, torch.full_like(values, decibels))


def test_si_sdr_is_the_mean_of_torchmetrics_over_channels() -> None:
    reference, error = signals()
    estimate = reference + torch.tensor([0.1, 1.0]).view(1, 1, 2, 1) * error

    expected = scale_invariant_signal_distortion_ratio(estimate, reference).mean(-1)

    torch.testing.assert_close(si_sdr(estimate, reference, nothing_silent(reference)), expected)


def test_a_gain_is_no_error_to_si_sdr_and_one_to_sdr() -> None:
    reference, error = signals()
    estimate = reference + 0.1 * error

    torch.testing.assert_close(
        si_sdr(0.5 * estimate, reference, nothing_silent(reference)),
        si_sdr(estimate, reference, nothing_silent(reference)),
    )
    assert (sdr(0.5 * reference, reference, nothing_silent(reference)) - 6.0206 < 1e-3).all()


def test_a_channel_is_silent_60_db_below_the_mixture_at_any_level() -> None:
    mixture = torch.ones(1, 2, 100)
    stems = torch.stack(
        [torch.ones(1, 2, 100), torch.full((1, 2, 100), 1.1e-3), torch.full((1, 2, 100), 0.9e-3)], dim=1
    )

    for level in (1e-4, 1.0, 1e4):
        assert silent(level * stems, level * mixture)[0, :, 0].tolist() == [False, False, True]
    assert silent(torch.zeros(1, 1, 2, 100), torch.zeros(1, 2, 100)).all()


def test_silent_channels_are_left_out_and_silent_sources_have_no_value() -> None:
    reference, error = signals()
    reference, error = reference[:1, :2], error[:1, :2]
    reference[0, 0, 1] = 0
    reference[0, 1] = 0
    quiet = silent(reference, reference.sum(dim=1) + 1)

    values = si_sdr(reference + 0.1 * error, reference, quiet)

    assert values[0, 0].item() == pytest.approx(20.0)
    assert values[0, 1].isnan()
    assert sdr(reference + 0.1 * error, reference, quiet)[0, 1].isnan()


def test_an_estimate_of_nothing_is_no_good_estimate() -> None:
    reference, _ = signals()

    assert (si_sdr(torch.zeros_like(reference), reference, nothing_silent(reference)) == -60).all()
    assert (sdr(torch.zeros_like(reference), reference, nothing_silent(reference)) == -60).all()


def test_metrics_measure_the_targets_by_name() -> None:
    reference, error = signals()
    mixture, nothing = reference.sum(dim=1), nothing_silent(reference)
    estimates = (reference + 0.1 * error)[:, [2, 0]]
    known = Known(mixture, reference, nothing, [2, 0], 44100)

    found = {**SiSdr(improvement=True).against(known)(estimates), **Sdr().against(known)(estimates)}

    assert list(found) == ["si_sdr", "si_sdr_i", "sdr"]
    wanted = reference[:, [2, 0]]
    torch.testing.assert_close(found["si_sdr"], si_sdr(estimates, wanted, nothing[:, [2, 0]]))
    torch.testing.assert_close(found["sdr"], sdr(estimates, wanted, nothing[:, [2, 0]]))
    of_mixture = si_sdr(mixture.unsqueeze(1).expand_as(wanted), wanted, nothing[:, [2, 0]])
    torch.testing.assert_close(found["si_sdr_i"], found["si_sdr"] - of_mixture)
    assert list(SiSdr().against(known)(estimates)) == ["si_sdr"]
