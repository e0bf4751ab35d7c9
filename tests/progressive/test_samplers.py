"""The iteration: its algebra on separators whose answer is known, its passes, its batch."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mdx_progressive.progressive.augmentations import AugmentationCycle
from mdx_progressive.progressive.combine import Combination, Last, Mean
from mdx_progressive.progressive.corrections.complement import Complement
from mdx_progressive.progressive.methods import Method, OnePass, Oracle, Progressive
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.remix import AddToMixture, Remix, RemixStems, SubtractOthers
from mdx_progressive.progressive.samplers import Euler, FromMixture, Halves, Heun, Sampler
from mdx_progressive.progressive.schedules import Constant, Explicit, Linear, PerSource
from mdx_progressive.progressive.trajectory import Step
from mdx_progressive.runtime.errors import MdxError
from tests.support.known_separators import (
    BATCH,
    CHANNELS,
    RATE,
    SOURCES,
    TIME,
    LinearSeparator,
    PerfectSeparator,
    mixture,
    of_sources,
    passes_of,
    run,
    stems,
)

RULES = [AddToMixture(), SubtractOthers(), RemixStems(), SubtractOthers({"vocals": 0.0})]
SAMPLERS = [*(FromMixture(rule) for rule in RULES), Euler(), Euler(churn=0.3), Heun(), Halves()]


def estimates(steps: list[Step]) -> Tensor:
    return torch.stack([step.estimates for step in steps])


def test_a_linear_separator_follows_the_closed_form() -> None:
    gains, weights = torch.tensor([0.5, 0.9]), [0.25, 0.5, 0.75]

    steps, _ = run(Progressive(Explicit(weights)), LinearSeparator(0.5, 0.9), mixture())

    factor = gains  # x_0 = g y, then x_n = g ((1 - b) + b x_{n-1} / y) y
    for step, weight in zip(steps, [0.0, *weights], strict=True):
        if step.number > 0:
            factor = gains * ((1 - weight) + weight * factor)
        torch.testing.assert_close(step.estimates, factor.view(1, -1, 1, 1) * mixture().unsqueeze(1))
        assert step.weights.tolist() == pytest.approx([weight] * 2)


@pytest.mark.parametrize("sampler", [None, FromMixture(SubtractOthers()), Halves(), Euler(churn=0.2), Heun()])
def test_each_source_follows_its_own_schedule(sampler: Sampler | None) -> None:
    truth, weights = stems(), {"vocals": [0.2, 0.7], "accompaniment": [0.5, 0.1]}
    perfect, heard = PerfectSeparator(truth), list[Tensor]()

    def separate(mixtures: Tensor, input_index: Sequence[int] | None = None) -> Tensor:
        heard.append(of_sources(mixtures, input_index).clone())
        return perfect(mixtures, input_index)

    schedule = PerSource({source: Explicit(values) for source, values in weights.items()})
    steps, _ = run(Progressive(schedule, sampler=sampler), separate, truth.sum(dim=1))

    assert [step.weights.tolist() for step in steps] == [[0.0, 0.0], [0.2, 0.5], [0.7, 0.1]]
    torch.testing.assert_close(heard[-1][:, 0], truth[:, 0] + 0.3 * truth[:, 1])
    torch.testing.assert_close(heard[-1][:, 1], truth[:, 1] + 0.9 * truth[:, 0])


@pytest.mark.parametrize("rho", [0.0, "b", "-(1-b)"])
def test_every_rule_is_the_operator_with_its_rho(rho: float | str) -> None:
    rule: Remix = {0.0: AddToMixture(), "b": SubtractOthers(), "-(1-b)": RemixStems()}[rho]
    y, x, b = mixture(), stems().float(), 0.3
    factor = {0.0: 0.0, "b": b, "-(1-b)": -(1 - b)}[rho]

    residual = y - x.sum(dim=1)

    expected = (1 - b) * y[:, None] + b * x + factor * residual[:, None]
    torch.testing.assert_close(rule(y, x, b, SOURCES), expected)


def test_the_rules_as_they_are_written() -> None:
    y, x, b = mixture(), stems().float(), 0.3
    others = x.flip(1)  # of two sources

    torch.testing.assert_close(SubtractOthers()(y, x, b, SOURCES), y[:, None] - b * others)
    torch.testing.assert_close(RemixStems()(y, x, b, SOURCES), x + (1 - b) * others)
    peeled = SubtractOthers({"vocals": 0.25})(y, x, b, SOURCES)
    torch.testing.assert_close(peeled[:, 0], y - b * x[:, 1])
    torch.testing.assert_close(peeled[:, 1], y - b * 0.25 * x[:, 0])


@pytest.mark.parametrize("rule", RULES[:3])
def test_the_rules_are_one_where_the_estimates_add_up(rule: Remix) -> None:
    x = stems()

    torch.testing.assert_close(rule(x.sum(dim=1), x, 0.6, SOURCES), AddToMixture()(x.sum(dim=1), x, 0.6, SOURCES))


def test_a_share_of_a_source_that_there_is_not_is_refused() -> None:
    with pytest.raises(MdxError, match=r"bass: no such source; there are vocals, accompaniment"):
        run(Progressive(Linear(), 1, FromMixture(SubtractOthers({"bass": 0.5}))), LinearSeparator(0.5, 0.5), mixture())


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_perfect_separator_is_a_fixed_point(sampler: Sampler) -> None:
    truth = stems()

    # It estimates the target as it stands within the mixture, where its gain stays (1 - b) + b = 1.
    steps, _ = run(Progressive(Linear(0.9), 9, sampler), PerfectSeparator(truth), truth.sum(dim=1))

    for step in steps:
        torch.testing.assert_close(step.estimates, truth)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_steps_input_holds_the_accompaniment_at_1_minus_b(sampler: Sampler) -> None:
    truth, heard = stems(), list[Tensor]()
    perfect = PerfectSeparator(truth)

    def separate(mixtures: Tensor, input_index: Sequence[int] | None = None) -> Tensor:
        heard.append(of_sources(mixtures, input_index).clone())
        return perfect(mixtures, input_index)

    run(Progressive(Explicit([0.2, 0.5, 0.8]), sampler=sampler), separate, truth.sum(dim=1))

    last = heard[-1]
    if (
        isinstance(sampler, FromMixture)
        and isinstance(sampler.rule, SubtractOthers)
        and sampler.rule.shares(SOURCES)[0] == 0
    ):
        torch.testing.assert_close(last[:, 1], truth.sum(dim=1))  # the vocals are not peeled off
    else:
        torch.testing.assert_close(last[:, 1], truth[:, 1] + 0.2 * truth[:, 0])
    torch.testing.assert_close(last[:, 0], truth[:, 0] + 0.2 * truth[:, 1])


def test_euler_is_the_recursion_of_its_docstring() -> None:
    gains, weights = torch.tensor([0.5, 0.9]).view(1, -1, 1, 1), [0.0, 0.25, 0.5, 0.75]

    steps, _ = run(Progressive(Explicit(weights[1:]), sampler=Euler()), LinearSeparator(0.5, 0.9), mixture())

    state = mixture().unsqueeze(1).expand(-1, 2, -1, -1)
    for before, now, step in zip(weights[:-1], weights[1:], steps[1:], strict=True):
        ratio = (1 - now) / (1 - before)
        state = ratio * state + (1 - ratio) * gains * state
        torch.testing.assert_close(step.estimates, gains * state)


def test_each_half_of_four_sources_is_heard_without_the_other_in_all_three_ways() -> None:
    sources = ["drums", "bass", "other", "vocals"]
    y, separator = mixture(), LinearSeparator(0.1, 0.2, 0.3, 0.4)
    views = AugmentationCycle(first=1, each=3, span=0.0, flip=False, swap=False)

    steps, made = run(Progressive(Constant(0.5), 1, Halves(), views), separator, y, sources=sources)

    assert made == 1 + 3 * 2
    # x_0 = g y, so that a half with the gains g_i and g_j taken out leaves (1 - (g_i + g_j) / 2) y
    left = [(0.65, 0.85), (0.7, 0.8), (0.75, 0.75)]
    for seen, factors in zip(separator.inputs[1:], left, strict=True):
        for number, factor in enumerate(factors):
            torch.testing.assert_close(seen[:, number], factor * y)
    of_sources = [[0.65, 0.65, 0.85, 0.85], [0.7, 0.8, 0.7, 0.8], [0.75, 0.75, 0.75, 0.75]]
    gains = torch.tensor([0.1, 0.2, 0.3, 0.4]) * torch.tensor(of_sources).mean(dim=0)
    torch.testing.assert_close(steps[1].estimates, gains.view(1, -1, 1, 1) * y.unsqueeze(1))


def test_a_factor_of_a_split_leaves_some_of_the_others_in() -> None:
    y, separator = mixture(), LinearSeparator(0.1, 0.2, 0.3, 0.4)
    views = AugmentationCycle(first=1, each=2, span=0.0, flip=False, swap=False)
    sampler = Halves(factors=[1.0, 0.5, 0.0])

    run(Progressive(Constant(0.5), 2, sampler, views), separator, y, sources=["vocals", "drums", "bass", "other"])

    left = [[(seen[:, half] / y).mean().item() for half in (0, 1)] for seen in separator.inputs[1:]]
    assert left[0] == pytest.approx([0.65, 0.85], abs=1e-5)
    assert left[1] == pytest.approx([0.85, 0.9], abs=1e-5)
    assert left[2] == pytest.approx([1.0, 1.0], abs=1e-5)  # The third split and factor are those of the next step.
    for factors in ([], [1.1], [-0.1]):
        with pytest.raises(MdxError, match=r"factors of halves must lie within \[0, 1\]"):
            Halves(factors)


def test_sequential_halves_start_from_what_the_pass_before_has_changed() -> None:
    y, gains, b = mixture(), [0.1, 0.2, 0.3, 0.4], 0.5
    views = AugmentationCycle(first=1, each=3, span=0.0, flip=False, swap=False)

    def inputs(sequential_from: int | None) -> list[list[float]]:
        separator = LinearSeparator(*gains)
        sampler = Halves(sequential_from=sequential_from)
        run(Progressive(Constant(b), 2, sampler, views, Mean(later=3.0)), separator, y, sources=[*"vdbo"])
        return [[(seen[:, half] / y).mean().item() for half in (0, 1)] for seen in separator.inputs[1:]]

    # By hand: the estimates are gains of the mixture; a pass changes that of each source by the gain of its input.
    known, made, expected = [[*gains]], [1.0], []
    for number, split in enumerate([*Halves.splits(4), *Halves.splits(4)]):
        if number % 3 == 0 and number < 3:
            start = _mean(known, made)
        if number >= 3:
            start = _mean(known, made)
        left = [1 - b * sum(gain for gain, half in zip(start, split, strict=True) if half != own) for own in (0, 1)]
        known.append([gain * left[half] for gain, half in zip(gains, split, strict=True)])
        made.append(3.0)
        expected.append(left)

    assert inputs(2) == [pytest.approx(each, abs=1e-5) for each in expected]
    assert inputs(3) == inputs(None)
    assert inputs(1)[0] == inputs(None)[0]
    assert inputs(1)[1] != pytest.approx(inputs(None)[1], abs=1e-4)


def _mean(estimates: list[list[float]], weights: list[float]) -> list[float]:
    return [
        sum(weight * each[source] for weight, each in zip(weights, estimates, strict=True)) / sum(weights)
        for source in range(len(estimates[0]))
    ]


def test_with_two_sources_halves_are_the_others_subtracted() -> None:
    steps = [
        run(Progressive(Linear(0.6), 3, each), LinearSeparator(0.4, 0.7), mixture())[0]
        for each in (Halves(), FromMixture(SubtractOthers()))
    ]

    torch.testing.assert_close(estimates(steps[0]), estimates(steps[1]))


def test_one_source_has_no_halves() -> None:
    with pytest.raises(MdxError, match="Halves needs two sources or more, and there is vocals alone"):
        run(Progressive(Linear(0.6), 1, Halves()), LinearSeparator(0.4), mixture(), sources=["vocals"])


@pytest.mark.parametrize("sources", [2, 3, 4, 5, 6, 7])
def test_all_splits_together_put_any_two_sources_into_one_half_as_often(sources: int) -> None:
    splits = Halves.splits(sources)

    assert len({tuple(split) for split in splits}) == len(splits)
    assert all(abs(2 * sum(split) - sources) <= 1 for split in splits)
    met = torch.zeros(sources, sources)
    for split in splits:
        halves = torch.tensor(split)
        met += halves[:, None] == halves[None, :]
    apart = met[~torch.eye(sources, dtype=torch.bool)]
    assert apart.min() == apart.max()


def test_heun_is_edms_algorithm_2() -> None:
    gains = torch.tensor([0.5, 0.9]).view(1, -1, 1, 1)

    steps, _ = run(Progressive(Explicit([0.4]), sampler=Heun()), LinearSeparator(0.5, 0.9), mixture())

    y = mixture().unsqueeze(1)
    slope = (y - gains * y) / 1.0
    ahead = y + (0.6 - 1.0) * slope
    state = y + (0.6 - 1.0) * (0.5 * slope + 0.5 * (ahead - gains * ahead) / 0.6)
    torch.testing.assert_close(steps[1].estimates, gains * state)


def test_heun_is_nearer_to_the_end_of_the_path_than_euler() -> None:
    def end(sampler: Sampler, steps: int) -> Tensor:
        return run(Progressive(Linear(0.8), steps, sampler), LinearSeparator(0.5, 0.9), mixture())[0][-1].estimates

    gains = torch.tensor([0.5, 0.9]).view(1, -1, 1, 1)
    exact = gains * 0.2 ** (1 - gains) * mixture().unsqueeze(1)  # d log y = (1 - g) d log sigma

    assert (end(Heun(), 8) - exact).norm() < 0.5 * (end(Euler(), 16) - exact).norm()
    assert (end(Heun(), 32) - exact).norm() < 0.1 * (end(Heun(), 8) - exact).norm()  # of second order


def test_churn_adds_the_estimated_accompaniment_back() -> None:
    truth, heard = stems(), list[Tensor]()
    perfect = PerfectSeparator(truth)

    class Trace(Euler):
        def _slope(self, slope: Tensor, state: Tensor, *rest: object) -> Tensor:
            heard.append(state.clone())
            return slope

    run(Progressive(Explicit([0.5, 0.6]), sampler=Trace(churn=0.2)), perfect, truth.sum(dim=1))

    torch.testing.assert_close(heard[1][:, 0], truth[:, 0] + 0.5 * 1.2 * truth[:, 1])


def test_the_oracles_input_is_the_target_and_what_is_left_of_the_others() -> None:
    truth, separator = stems(), LinearSeparator(1.0, 1.0)

    run(Oracle(Explicit([0.3, 0.8])), separator, truth.sum(dim=1), truth)

    for seen, weight in zip(separator.inputs[1:], [0.3, 0.8], strict=True):
        torch.testing.assert_close(seen[:, 0], truth[:, 0] + (1 - weight) * truth[:, 1])
        torch.testing.assert_close(seen[:, 1], truth[:, 1] + (1 - weight) * truth[:, 0])


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_a_step_is_one_call_of_the_separator_for_all_targets(steps: int) -> None:
    separator = LinearSeparator(0.5, 0.9)

    run(Progressive(Linear(0.9), steps), separator, mixture())

    assert len(separator.inputs) == steps + 1
    assert separator.inputs[0].shape == (BATCH, 1, CHANNELS, TIME)
    assert all(seen.shape == (BATCH, 2, CHANNELS, TIME) for seen in separator.inputs[1:])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_a_method_makes_the_passes_that_it_states(sampler: Sampler, steps: int) -> None:
    method = Progressive(Linear(0.9), steps, sampler, augmentations=AugmentationCycle(first=3, each=2, span=1.0))

    separator = LinearSeparator(0.5, 0.9)
    _, made = run(method, separator, mixture())

    heard = sum(seen.shape[0] * seen.shape[1] for seen in separator.inputs) // BATCH
    assert heard == made == method.passes(2) == 3 + 2 * 2 * steps * (2 if isinstance(sampler, Heun) else 1)


FOUR = ["drums", "bass", "other", "vocals"]


@pytest.mark.parametrize("targets", [["vocals"], ["other", "drums"], ["drums", "bass", "vocals"], FOUR])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("sequential", [None, 1])
def test_the_last_step_of_halves_leaves_out_those_without_a_target(
    targets: list[str], steps: int, sequential: int | None
) -> None:
    method = Progressive(
        Linear(0.9), steps, Halves(sequential_from=sequential), AugmentationCycle(first=1, each=3, span=1.0), Mean()
    )
    places = [FOUR.index(target) for target in targets]

    def last(targets: list[str] | None) -> tuple[Tensor, int]:
        separator = LinearSeparator(0.5, 0.4, 0.3, 0.2)
        passes = Passes(separator, mixture(), FOUR, RATE, targets=targets)
        *_, step = method.run(passes, separator(mixture()[:, None]), None)
        return step.estimates[:, places], 1 + passes.count

    (some, cost), (every, whole) = last(targets), last(None)

    torch.testing.assert_close(some, every)
    assert whole == method.passes(4) == 1 + 6 * steps
    assert cost == whole - method.saved_passes(4, places)
    saved = [2 - len({split[place] for place in places}) for split in Halves.splits(4)]
    assert whole - cost == (sum(saved) if sequential is None else saved[-1])
    assert sum(saved) == {1: 3, 2: 1, 3: 0, 4: 0}[len(targets)]


def test_no_half_is_left_out_where_a_correction_needs_all_sources() -> None:
    method = Progressive(Linear(0.9), 1, Halves(), corrections=[Complement("vocals")])
    separator = LinearSeparator(0.5, 0.4, 0.3, 0.2)
    passes = Passes(separator, mixture(), FOUR, RATE, targets=["vocals"])

    *_, step = method.run(passes, separator(mixture()[:, None]), None)

    assert (method.saved_passes(4, [3]), passes.count) == (0, 2)
    torch.testing.assert_close(step.estimates.sum(dim=1), mixture())


def test_it_stops_where_the_caller_stops() -> None:
    separator = LinearSeparator(0.5, 0.9)
    passes = passes_of(separator, mixture())

    steps = Progressive(Linear(0.9), 9).run(passes, separator(mixture()[:, None]), None)
    next(steps)
    next(steps)

    assert len(separator.inputs) == 2


def test_weight_0_gives_the_plain_estimates_even_for_a_mixture_above_full_scale() -> None:
    def level_dependent(mixtures: Tensor) -> Tensor:
        return torch.tanh(mixtures.expand(-1, 2, -1, -1))

    (plain, again), _ = run(Progressive(Explicit([0.0])), level_dependent, 20 * mixture())

    torch.testing.assert_close(again.estimates, plain.estimates)


def test_a_blend_above_full_scale_is_turned_down_and_its_estimate_up_again() -> None:
    separator = LinearSeparator(4.0, 0.5)

    steps, _ = run(Progressive(Explicit([0.9])), separator, mixture().clamp(-0.5, 0.5))

    assert separator.inputs[1][:, 0].abs().amax() <= 1 + 1e-6
    expected = 4 * (0.1 + 0.9 * 4) * mixture().clamp(-0.5, 0.5)
    torch.testing.assert_close(steps[1].estimates[:, 0], expected)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_silence_stays_silence(sampler: Sampler) -> None:
    steps, _ = run(Progressive(Linear(0.9), 3, sampler), LinearSeparator(4.0, 0.5), torch.zeros(1, 2, 8))

    assert (estimates(steps) == 0).all()


def test_the_callers_tensors_are_unchanged() -> None:
    y, truth = mixture(), stems().float()
    before = [tensor.clone() for tensor in (y, truth)]

    run(Oracle(Linear(0.9), 3), LinearSeparator(4.0, 0.9), y, truth)

    for tensor, kept in zip((y, truth), before, strict=True):
        assert torch.equal(tensor, kept)


def test_a_batch_gives_what_its_items_and_targets_give_alone() -> None:
    method, y = (
        Progressive(Linear(0.9), 4, augmentations=AugmentationCycle(first=2, span=0.5), combine=Mean()),
        3 * mixture(),
    )
    together = estimates(run(method, LinearSeparator(3.0, 0.9), y)[0])

    for item in range(BATCH):
        for number, gain in enumerate((3.0, 0.9)):
            alone, _ = run(method, LinearSeparator(gain), y[item : item + 1], sources=SOURCES[number : number + 1])
            torch.testing.assert_close(together[:, item : item + 1, number : number + 1], estimates(alone))


@pytest.mark.parametrize(
    ("combine", "parts"),
    [
        (Last(), [0.0, 0.0, 1.0]),
        (Mean(), [1 / 3, 1 / 3, 1 / 3]),
        (Mean(later=2.0), [0.2, 0.4, 0.4]),
    ],
)
def test_passes_are_combined_and_what_is_combined_is_blended_in(combine: Combination, parts: list[float]) -> None:
    gain, weights = 0.5, [0.4, 0.6]
    steps, _ = run(
        Progressive(Explicit(weights), combine=combine), LinearSeparator(gain), mixture(), sources=["vocals"]
    )

    # Factors of the mixture: each pass gives gain ((1 - b) + b m), where m is what was handed out before.
    passes = [gain]
    for step, weight in zip(steps, weights, strict=False):
        m = (step.estimates / mixture()[:, None]).mean().item()
        passes.append(gain * ((1 - weight) + weight * m))
    expected = sum(part * each for part, each in zip(parts, passes, strict=True))
    torch.testing.assert_close(steps[-1].estimates, expected * mixture()[:, None])


def test_one_pass_is_the_plain_pass() -> None:
    first = stems()

    steps = list(OnePass().run(passes_of(LinearSeparator(1.0, 1.0), mixture()), first, None))

    assert [step.number for step in steps] == [0]
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

    with pytest.raises(MdxError, match=r"needs the references.*predict"):
        run(method, LinearSeparator(1.0, 1.0), mixture())


def test_a_negative_churn_is_refused() -> None:
    with pytest.raises(MdxError, match=r"churn.*-0.1"):
        Euler(churn=-0.1)


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_estimates_of_a_mixture_in_half_precision_are_kept_as_they_come(half: torch.dtype) -> None:
    """Separators hand out float32 whatever they hear, and what is averaged must not be rounded on the way."""
    heard = 0.3 * torch.ones(1, 1, 1, 8, dtype=half)
    passes = Passes(lambda inputs: inputs.float() / 3, heard[:, 0], ["vocals"], sample_rate=44100)

    found = passes.separate(heard, after=heard.float() / 7)

    torch.testing.assert_close(found, torch.stack([heard.float() / 7, heard.float() / 3]), rtol=0, atol=0)
