"""Methods: what is done with a mixture from its plain pass on. `predict` runs one, `test` compares several."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from mdx_progressive.combine import Combination, Last, Mean
from mdx_progressive.corrections import Correction
from mdx_progressive.errors import MdxError
from mdx_progressive.passes import Passes
from mdx_progressive.progressive import FromMixture, Path, Sampler, Step
from mdx_progressive.schedules import Constant, Formula, Schedule, formulas
from mdx_progressive.views import OneView, Rotation, Views


class Method(ABC):
    """A way to use a frozen separator at inference time.

    Args:
        name: Name in tables, charts and files.
    """

    needs_references = False
    """Whether it is told the true sources. Such a method is a bound, open to evaluation only."""
    needs_others = False
    """Whether it has to follow all sources, whichever are wanted."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    @abstractmethod
    def steps(self) -> int:
        """How many steps it makes after the plain pass."""

    @property
    @abstractmethod
    def passes(self) -> int:
        """Passes over the mixture, or a blend of it, that an estimate of one source costs, the plain one among them.

        A pass whose output serves all sources counts once for each of them.
        """

    def inputs(self, sources: int) -> int:
        """How often the network hears the chunk, or a blend of it, for so many sources, the plain pass among them.

        Here the most that it can be, with an input for each source in every pass after the plain one.
        """
        return 1 + (self.passes - 1) * sources

    @abstractmethod
    def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        """Yield every step, from step 0 on the mixture itself.

        Args:
            passes: The separator, bound to the mixture and the sources.
            first: Estimates of the plain pass, made once for all methods.
            references: The true sources, for the methods that need them.

        Shape:
            - first, references and the estimates: (batch, source, channel, time)
        """


def followed(methods: Iterable[Method], sources: list[str], targets: list[str]) -> list[str]:
    """The sources whose estimates these methods work on: the targets, or all sources where one needs the others.

    Args:
        methods: The methods.
        sources: All sources of the separator.
        targets: Those that are wanted.
    """
    return sources if any(method.needs_others for method in methods) else targets


class OnePass(Method):
    """The separator as it is: the plain pass and nothing after it. The lower bound."""

    def __init__(self) -> None:
        super().__init__("one-pass")

    @property
    def steps(self) -> int:
        return 0

    @property
    def passes(self) -> int:
        return 1

    def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        yield Step(0, torch.zeros(len(passes.sources)), first)


class Progressive(Method):
    """Progressive inference: the estimate is blended into the mixture, more at each step, and separated again.

    Args:
        schedule: How the weight of the estimate grows.
        steps: Number of steps after the plain mixture; by default 9, or the length of an explicit schedule. With 0
            steps it is an ensemble of the views of the mixture.
        sampler: How the input of each step follows from those before; by default the estimate is added to the
            mixture.
        views: The views of its input that each step takes; by default one, the input as it is.
        combine: How the passes so far become the estimate that is handed out and blended in; by default the last.
        each_step: What is done to the estimates of each step, one after the other, before they are blended in.
        corrections: What is done, after that, to the estimates of the last step.
        retune: Cents off concert pitch (A = 440 Hz) above which music is played lower, onto it, in all passes but
            the plain one, which counts no more then if there are other views of the mixture. For networks that know
            tuned music only; by default never.
        name: Name in tables, charts and files; by default the schedule's.

    Raises:
        MdxError: If the schedule can't be laid over that many steps, or `retune` is not within 0 and 50.
    """

    def __init__(
        self,
        schedule: Schedule,
        steps: int | None = None,
        sampler: Sampler | None = None,
        views: Views | None = None,
        combine: Combination | None = None,
        each_step: Sequence[Correction] | None = None,
        corrections: Sequence[Correction] | None = None,
        retune: float | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name or _name_of(schedule))
        self.schedule = schedule
        self._steps = schedule.default_steps if steps is None else steps
        schedule.check(self._steps)
        if retune is not None and not 0 <= retune <= 50:
            raise MdxError(f"retune is in cents, from 0 to 50, not {retune}")
        self.retune = retune
        self.sampler = sampler or FromMixture()
        self.views = views or OneView()
        self.combine = combine or Last()
        self.each_step, self.corrections = list(each_step or []), list(corrections or [])
        every = [*self.each_step, *self.corrections]
        self.needs_others = self.sampler.needs_others or any(each.needs_others for each in every)

    @property
    def steps(self) -> int:
        return self._steps

    @property
    def passes(self) -> int:
        return self.inputs(sources=1)

    def inputs(self, sources: int) -> int:
        later = sum(len(self.views.at(step)) for step in range(1, self.steps + 1))
        corrected = (self.steps + 1) * _inputs(self.each_step, sources) + _inputs(self.corrections, sources)
        return len(self.views.at(0)) + self.sampler.passes_a_view * self.sampler.inputs(sources) * later + corrected

    def start(self, passes: Passes, first: Tensor) -> Path:
        """The passes over the mixture itself, of which the plain one is made already."""
        retuned = [] if self.retune is None else passes.retune(self.retune)
        _, *further = self.views.at(0)
        mixture = passes.mixture.unsqueeze(1)
        passes_over = passes.over(mixture, further, after=first) if further else first.unsqueeze(0)
        if retuned and further:
            # What the network makes of it out of tune would only draw the mean away from what it makes of it in tune.
            passes_over[0, retuned] = passes_over[1:, retuned].mean(dim=0)
        return Path(passes_over, self.combine, partial(_corrected, self.each_step, passes))

    def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        path = self.start(passes, first)
        of_sources = [self.schedule.weights(self.steps, source) for source in passes.sources]
        weights = torch.stack(of_sources, dim=1)
        for step in self.sampler.run(passes, path, weights, self.views, references):
            last = self.corrections if step.step == self.steps else []
            yield step._replace(estimates=_corrected(last, passes, path, step.estimates))

    def over(self, schedule: Schedule, name: str) -> "Progressive":
        """The same method over another schedule, in as many steps.

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


def plain_ensemble(passes: int, span: float) -> Progressive:
    """The plain mean over views of the mixture, which a method has to beat with as many passes.

    Args:
        passes: How many views, the plain one among them.
        span: Seconds over which their shifts are spread.
    """
    return Progressive(Constant(0.0), 0, views=Rotation(first=passes, span=span), combine=Mean(), name="ensemble")


def over_all_schedules(method: Method) -> list[Progressive]:
    """A method over every other schedule that is a formula, to the same maximum in as many steps.

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
    return [method.over(each, prefix + _name_of(each)) for each in others]


def _corrected(corrections: Sequence[Correction], passes: Passes, path: Path, estimates: Tensor) -> Tensor:
    for correct in corrections:
        estimates = correct(passes, path, estimates)
    return estimates


def _inputs(corrections: Sequence[Correction], sources: int) -> int:
    return sum(each.inputs(sources) for each in corrections)


def _name_of(schedule: Schedule) -> str:
    return type(schedule).__name__.lower()


class Oracle(Progressive):
    """The true sources blended in where the estimates would be: the upper bound of re-weighting the input.

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
            raise MdxError(f"the method {self.name!r} needs the true sources: it works in `test`, not in `predict`")
        return super().run(passes, first, references)
