"""The iteration: its algebra on separators whose answer is known, its passes, its batch."""

import pytest
import torch
from torch import Tensor

from mdx_progressive.errors import MdxError
from mdx_progressive.methods import Method, OnePass, Oracle, Progressive
from mdx_progressive.progressive import Step, progressive
from mdx_progressive.schedules import Constant, Explicit, Linear

BATCH, TARGETS, CHANNELS, TIME = 3, 2, 2, 64


class LinearSeparator:
    """Estimates target t as `gains[t]` times its input, and counts its passes and what it saw."""

    def __init__(self, gains: Tensor) -> None:
        self.gains = gains.view(1, -1, 1, 1)
        self.inputs: list[Tensor] = []

    def __call__(self, mixtures: Tensor) -> Tensor:
        self.inputs.append(mixtures.clone())
        return self.gains * mixtures


class PerfectSeparator:
    """Knows the stems: finds the gain of each within any weighting of them, by least squares."""

    def __init__(self, stems: Tensor) -> None:
        self.stems = stems

    def __call__(self, mixtures: Tensor) -> Tensor:
        targets = self.stems.shape[1]
        mixtures = mixtures.expand(-1, targets, -1, -1)
        flat = self.stems.flatten(2).transpose(1, 2)  # (batch, channel * time, stem)
        gains = torch.linalg.lstsq(flat, mixtures.flatten(2).transpose(1, 2)).solution  # (batch, stem, target)
        own = gains.diagonal(dim1=1, dim2=2)
        return own[..., None, None] * self.stems


def mixture() -> Tensor:
    return 0.2 * torch.randn(BATCH, CHANNELS, TIME, generator=torch.Generator().manual_seed(1))


def stems() -> Tensor:
    shape = (BATCH, TARGETS, CHANNELS, TIME)
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def run(steps: list[Step]) -> Tensor:
    return torch.stack([step.estimates for step in steps])


def test_a_linear_separator_follows_the_closed_form() -> None:
    gains, weights = torch.tensor([0.5, 0.9]), torch.tensor([0.0, 0.25, 0.5, 0.75])

    steps = list(progressive(LinearSeparator(gains), mixture(), weights))

    factor = gains  # x_0 = g y, then x_n = g ((1 - b) + b x_{n-1} / y) y
    for step, weight in zip(steps, weights.tolist(), strict=True):
        if step.step > 0:
            factor = gains * ((1 - weight) + weight * factor)
        torch.testing.assert_close(step.estimates, factor.view(1, -1, 1, 1) * mixture().unsqueeze(1))
        assert step.weight == pytest.approx(weight)


def test_a_perfect_separator_is_a_fixed_point() -> None:
    truth = stems()
    separate = PerfectSeparator(truth)

    # It estimates the target as it stands within the mixture, where its gain stays (1 - b) + b = 1.
    for step in progressive(separate, truth.sum(dim=1), Linear(0.9).weights(9)):
        torch.testing.assert_close(step.estimates, truth)


def test_the_oracles_input_is_the_target_and_what_is_left_of_the_others() -> None:
    truth, separator = stems(), LinearSeparator(torch.ones(TARGETS, dtype=torch.float64))

    list(progressive(separator, truth.sum(dim=1), torch.tensor([0.0, 0.3, 0.8]), oracle=truth))

    for seen, weight in zip(separator.inputs[1:], [0.3, 0.8], strict=True):
        torch.testing.assert_close(seen[:, 0], truth[:, 0] + (1 - weight) * truth[:, 1])
        torch.testing.assert_close(seen[:, 1], truth[:, 1] + (1 - weight) * truth[:, 0])


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_step_is_one_call_of_the_separator_for_all_targets(steps: int) -> None:
    separator = LinearSeparator(torch.tensor([0.5, 0.9]))

    list(progressive(separator, mixture(), Linear(0.9).weights(steps)))

    assert len(separator.inputs) == steps + 1
    assert separator.inputs[0].shape == (BATCH, 1, CHANNELS, TIME)
    assert all(seen.shape == (BATCH, TARGETS, CHANNELS, TIME) for seen in separator.inputs[1:])


def test_a_known_first_pass_is_not_made_again() -> None:
    separator = LinearSeparator(torch.tensor([0.5, 0.9]))
    first = separator(mixture().unsqueeze(1))

    steps = list(progressive(separator, mixture(), Linear(0.9).weights(2), first=first))

    assert len(separator.inputs) == 1 + 2
    assert steps[0].estimates is first


def test_it_stops_where_the_caller_stops() -> None:
    separator = LinearSeparator(torch.tensor([0.5, 0.9]))

    iterator = progressive(separator, mixture(), Linear(0.9).weights(9))
    next(iterator)
    next(iterator)

    assert len(separator.inputs) == 2


def test_weight_0_gives_the_plain_estimates_even_for_a_mixture_above_full_scale() -> None:
    loud = 20 * mixture()

    def level_dependent(mixtures: Tensor) -> Tensor:
        return torch.tanh(mixtures.expand(-1, TARGETS, -1, -1))

    plain, again = progressive(level_dependent, loud, torch.tensor([0.0, 0.0]))

    torch.testing.assert_close(again.estimates, plain.estimates)


def test_a_blend_above_full_scale_is_turned_down_and_its_estimate_up_again() -> None:
    separator = LinearSeparator(torch.tensor([4.0, 0.5]))

    steps = list(progressive(separator, mixture().clamp(-0.5, 0.5), torch.tensor([0.0, 0.9])))

    assert separator.inputs[1][:, 0].abs().amax() <= 1 + 1e-6
    expected = 4 * (0.1 + 0.9 * 4) * mixture().clamp(-0.5, 0.5)
    torch.testing.assert_close(steps[1].estimates[:, 0], expected)


def test_silence_stays_silence() -> None:
    steps = list(progressive(LinearSeparator(torch.tensor([4.0, 0.5])), torch.zeros(1, 2, 8), Linear(0.9).weights(3)))

    assert (run(steps) == 0).all()


def test_the_callers_tensors_are_unchanged() -> None:
    y, truth, weights = mixture(), stems().float(), Linear(0.9).weights(3)
    before = [tensor.clone() for tensor in (y, truth, weights)]

    list(progressive(LinearSeparator(torch.tensor([4.0, 0.9])), y, weights, oracle=truth))

    for tensor, kept in zip((y, truth, weights), before, strict=True):
        assert torch.equal(tensor, kept)


def test_a_batch_gives_what_its_items_and_targets_give_alone() -> None:
    gains, weights, y = torch.tensor([3.0, 0.9]), Linear(0.9).weights(4), 3 * mixture()
    together = run(list(progressive(LinearSeparator(gains), y, weights)))

    for item in range(BATCH):
        for target in range(TARGETS):
            separator = LinearSeparator(gains[target : target + 1])
            alone = run(list(progressive(separator, y[item : item + 1], weights)))
            torch.testing.assert_close(together[:, item : item + 1, target : target + 1], alone)


def test_one_pass_is_the_plain_pass() -> None:
    first = stems()

    steps = list(OnePass().run(LinearSeparator(torch.ones(2)), mixture(), first, None))

    assert [step.step for step in steps] == [0]
    assert steps[0].estimates is first


def test_a_method_is_called_as_its_schedule_unless_named() -> None:
    assert Progressive(Linear()).name == "linear"
    assert Progressive(Linear(), name="mine").name == "mine"
    assert Oracle(Linear()).name == "oracle"


def test_the_steps_follow_an_explicit_schedule() -> None:
    assert Progressive(Explicit([0.1, 0.2, 0.3])).steps == 3
    assert Progressive(Constant(0.3)).steps == 9


def test_the_oracle_refuses_to_run_without_references() -> None:
    method: Method = Oracle(Linear(), steps=2)

    with pytest.raises(MdxError, match=r"needs the true sources.*predict"):
        next(iter(method.run(LinearSeparator(torch.ones(2)), mixture(), stems(), None)))
