"""Methods: sampler, schedule, augmentations, combination and corrections as one object.

`predict` runs one method, `test` compares several, which share the plain pass.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from mdx_progressive.progressive.augmentations import AugmentationCycle, AugmentationPlan, NoAugmentation
from mdx_progressive.progressive.combine import Combination, Last, Mean
from mdx_progressive.progressive.corrections.base import Correction
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.samplers import FromMixture, Sampler
from mdx_progressive.progressive.schedules import Constant, Formula, Schedule, formulas
from mdx_progressive.progressive.trajectory import Step, Trajectory
from mdx_progressive.runtime import MdxError


class Method(ABC):
    """A way to use a frozen separator at inference time.

    Args:
        name: Name in tables, charts and files.
    """

    needs_references = False
    """Whether it is given the references. Such a method is a bound, for evaluation only."""
    needs_all_sources = False
    """Whether it tracks all sources, not the targets alone."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def steps(self) -> int:
        """Number of steps after the plain pass."""

    @abstractmethod
    def passes(self, sources: int) -> int:
        """Network passes over the chunk for the estimates of a number of sources, including the plain pass.

        What goes through the network for each source by itself counts as many times. A method that may stop earlier
        gives the upper limit.
        """

    def saved_passes(self, sources: int, targets: Sequence[int]) -> int:
        """How many of them are left out where only some of the sources, by their indices, are wanted in the end."""
        return 0

    @abstractmethod
    def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        """Yield every step, from step 0 on the mixture itself.

        Args:
            passes: The separator, bound to the mixture and the sources.
            first: Estimates of the plain pass, which all methods share, as `passes.centred` returns them.
            references: The true sources, for the methods that need them.

        Shape:
            - first, references and the estimates: (batch, source, channel, time)
        """


def tracked_sources(methods: Iterable[Method], sources: list[str], targets: list[str]) -> list[str]:
    """The sources whose estimates these methods need: the targets, or all sources if one method needs all.

    Args:
        methods: The methods.
        sources: All sources of the separator.
        targets: The wanted sources.
    """
    return sources if any(method.needs_all_sources for method in methods) else targets


class OnePass(Method):
    """The separator by itself: the plain pass and nothing after it. The lower bound."""

    def __init__(self) -> None:
        super().__init__("one-pass")

    @property
    def steps(self) -> int:
        return 0

    def passes(self, sources: int) -> int:
        return 1

    def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        yield Step(0, torch.zeros(len(passes.sources)), first)


class Progressive(Method):
    """Progressive inference: the estimate is blended into the mixture, more at each step, and separated again.

    Args:
        schedule: How the blend weight of the estimate grows.
        steps: Number of steps after the plain mixture; by default 9, or the length of an explicit schedule. With 0
            steps it is an ensemble over the augmentations of the mixture.
        sampler: How the input of each step follows from those before it; by default the estimate is added to the
            mixture.
        augmentations: The augmentations of each step's input; by default none.
        combine: How the passes so far become the estimate that is returned and blended in; by default the last pass.
        step_corrections: Corrections of the estimates of each step, in this order, before they are blended in.
        corrections: Further corrections of the estimates of the last step.
        pitch_correct: Deviation from concert pitch (A = 440 Hz) in cents above which music is resampled down to it,
            in all passes but the plain one; that one is then left out of the combination if the mixture has further
            augmentations. For networks that were trained on tuned music; by default never.
        name: Name in tables, charts and files; by default the schedule's.

    Raises:
        MdxError: If the schedule can't be laid over that many steps, or `pitch_correct` is not within 0 and 50.
    """

    def __init__(
        self,
        schedule: Schedule,
        steps: int | None = None,
        sampler: Sampler | None = None,
        augmentations: AugmentationPlan | None = None,
        combine: Combination | None = None,
        step_corrections: Sequence[Correction] | None = None,
        corrections: Sequence[Correction] | None = None,
        pitch_correct: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name or _name_of(schedule))
        self.schedule = schedule
        self._steps = schedule.default_steps if steps is None else steps
        schedule.check(self._steps)
        if pitch_correct is not None and not 0 <= pitch_correct <= 50:
            raise MdxError(f"pitch_correct is in cents, from 0 to 50, not {pitch_correct}")
        self.pitch_correct = pitch_correct
        self.sampler = sampler or FromMixture()
        self.augmentations = augmentations or NoAugmentation()
        self.combine = combine or Last()
        self.step_corrections, self.corrections = list(step_corrections or []), list(corrections or [])
        every = [*self.step_corrections, *self.corrections]
        self.needs_all_sources = self.sampler.needs_all_sources or any(each.needs_all_sources for each in every)

    @property
    def steps(self) -> int:
        return self._steps

    def passes(self, sources: int) -> int:
        later = sum(len(self.augmentations.at(step)) for step in range(1, self.steps + 1))
        corrected = (self.steps + 1) * _cost(self.step_corrections, sources) + _cost(self.corrections, sources)
        return len(self.augmentations.at(0)) + self.sampler.passes(sources) * later + corrected

    def saved_passes(self, sources: int, targets: Sequence[int]) -> int:
        if self._needs_all_in_last_step:
            return 0
        counts = [len(self.augmentations.at(step)) for step in range(1, self.steps + 1)]
        return self.sampler.saved_passes(sources, counts, targets)

    @property
    def _needs_all_in_last_step(self) -> bool:
        """Whether a correction of the last step needs the estimates of all sources from that step."""
        return any(each.needs_all_in_last_step for each in [*self.step_corrections, *self.corrections])

    def start(self, passes: Passes, first: Tensor) -> Trajectory:
        """The passes over the mixture itself, given the estimates of the plain pass."""
        pitch_corrected = [] if self.pitch_correct is None else passes.correct_pitch(self.pitch_correct)
        _, *further = self.augmentations.for_span(passes.span).at(0)
        mixture = passes.mixture.unsqueeze(1)
        mixture_passes = passes.separate(mixture, further, after=first) if further else first.unsqueeze(0)
        if pitch_corrected and further:
            # The network separates music that is out of tune worse: the plain pass would only spoil the mean.
            mixture_passes[0, pitch_corrected] = mixture_passes[1:, pitch_corrected].mean(dim=0)
        combine = self.combine.for_rate(passes.sample_rate)
        return Trajectory(mixture_passes, combine, partial(_correct, self.step_corrections, passes))

    def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        if self._needs_all_in_last_step:
            passes.targets = passes.sources
        trajectory = self.start(passes, first)
        weights = torch.stack([self.schedule.weights(self.steps, source) for source in passes.sources], dim=1)
        augmentations = self.augmentations.for_span(passes.span)
        for step in self.sampler.run(passes, trajectory, weights, augmentations, references):
            yield step._replace(estimates=self.finish(step.number, passes, trajectory, step.estimates))

    def finish(self, step: int, passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
        """The estimates of a step as they are returned: those of the last one are corrected further."""
        return _correct(self.corrections if step == self.steps else [], passes, trajectory, estimates)

    def with_schedule(self, schedule: Schedule, name: str) -> "Progressive":
        """The same method with another schedule and the same number of steps.

        Args:
            schedule: The other schedule.
            name: The name of the new method.

        Raises:
            MdxError: If the schedule can't be laid over that many steps.
        """
        schedule.check(self.steps)
        other = copy.copy(self)
        other.schedule, other.name = schedule, name
        return other


def plain_ensemble(passes: int) -> Progressive:
    """The mean over augmentations of the mixture: what a method has to beat at an equal number of passes.

    Args:
        passes: Number of network passes, including the plain one.
    """
    return Progressive(Constant(0.0), 0, augmentations=AugmentationCycle(first=passes), combine=Mean(), name="ensemble")


def with_every_schedule(method: Method) -> list[Progressive]:
    """A method with every other schedule that is a formula, with the same maximum and number of steps.

    Args:
        method: The method.

    Raises:
        MdxError: If it has no schedule that is a formula.
    """
    own = method.schedule if isinstance(method, Progressive) else None
    if not isinstance(method, Progressive) or not isinstance(own, Formula):
        raise MdxError(
            "schedules are compared at an equal maximum: model.method must be Progressive, over a schedule that has one"
        )
    others = [each for each in formulas(own.maximum) if type(each) is not type(own)]
    prefix = "" if method.name == _name_of(own) else f"{method.name}-"
    return [method.with_schedule(each, prefix + _name_of(each)) for each in others]


def _correct(corrections: Sequence[Correction], passes: Passes, trajectory: Trajectory, estimates: Tensor) -> Tensor:
    for correct in corrections:
        estimates = correct(passes, trajectory, estimates)
    return estimates


def _cost(corrections: Sequence[Correction], sources: int) -> int:
    return sum(each.passes(sources) for each in corrections)


def _name_of(schedule: Schedule) -> str:
    return type(schedule).__name__.lower()


class Oracle(Progressive):
    """The references are blended in instead of the estimates: the upper bound of re-weighting the input.

    Args:
        schedule: How the weight of the true source grows.
        steps: Number of passes after the plain one; by default 9, or the length of an explicit schedule.
        name: Name in tables, charts and files.
    """

    needs_references = True

    def __init__(self, schedule: Schedule, steps: int | None = None, name: str = "oracle") -> None:
        super().__init__(schedule, steps, name=name)

    def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        if references is None:
            raise MdxError(f"the method {self.name!r} needs the references: it works in `test`, not in `predict`")
        return super().run(passes, first, references)
