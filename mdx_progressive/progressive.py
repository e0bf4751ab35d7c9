"""Progressive inference: separate, blend the estimate into the mixture, separate again.

Let `y` be the mixture, `f` a frozen separator, `t` the target and `b_0 = 0, b_1, …, b_N` the blend weights
of a schedule. Then

    x_0 = f_t(y)                                    the plain one pass
    y_n = (1 - b_n) y + b_n x_{n-1}                 the target grows louder by -20 log10(1 - b_n) dB
    x_n = f_t(y_n)                                  the same network, an easier mixture

The rest of the mixture plays the part of the noise in a diffusion sampler: what is left of it at step `n` is
`sigma_n = 1 - b_n`. Here every step starts again from the mixture (`FromMixture`, with one of the rules of
`remix`), so an error made at one step is not carried along by the input of the next, only by the estimate blended
into it. `Halves` takes some of the other sources out at a time. `Euler` and `Heun` start from the input of the step
before, as samplers of diffusion models do.

A step may take several passes, each through its own view of the input (`views`), and what is handed out and
blended in may be made of all passes so far (`combine`) and corrected (`corrections`): then the estimate that is
blended in is itself denoised.

With the true stem in place of the estimate the same lines are the **oracle**, the upper bound of all that a
re-weighting of the input can give. It needs the references, so it belongs to evaluation alone.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, cycle
from typing import NamedTuple

import torch
from torch import Tensor

from mdx_progressive.combine import Combination
from mdx_progressive.errors import MdxError
from mdx_progressive.passes import Passes
from mdx_progressive.remix import AddToMixture, Remix
from mdx_progressive.views import View, Views


class Step(NamedTuple):
    """What a step of a method gave."""

    step: int
    """Number of the step; 0 is the plain mixture."""
    weights: Tensor
    """Blend weight `b_n` of each estimate within the input of this step (source,); NaN where chunks differ."""
    estimates: Tensor
    """Estimates `x_n` (batch, source, channel, time)."""


class Path:
    """The passes of a run so far, and the estimate that is made of them.

    Args:
        start: All passes over the mixture itself, (view, batch, source, channel, time).
        combine: How the passes become one estimate.
        correct: What is done to that estimate at every step; by default nothing.
    """

    def __init__(
        self, start: Tensor, combine: Combination, correct: Callable[["Path", Tensor], Tensor] | None = None
    ) -> None:
        self._combine, self._correct = combine, correct
        self.passes: list[Tensor] = []
        """For each step that `combine` looks at, its passes (view, batch, source, channel, time)."""
        self.estimates = self.add(start)
        """What they make (batch, source, channel, time)."""

    @property
    def every(self) -> list[Tensor]:
        """The passes one by one (batch, source, channel, time), in the order in which they were made."""
        return [each for of_step in self.passes for each in of_step]

    def ahead(self, passes: Tensor) -> Tensor:
        """What the estimates would be with these passes of a next step, before they are corrected."""
        return self._combine([*self.passes, passes])

    def add(self, passes: Tensor) -> Tensor:
        """Take in the passes of a step; returns the new estimates."""
        self.estimates = self.ahead(passes)
        self.passes.append(passes)
        if self._combine.steps is not None:
            del self.passes[: -self._combine.steps]
        if self._correct is not None:
            self.estimates = self._correct(self, self.estimates)
        return self.estimates


class Sampler(ABC):
    """How the input of each step follows from those before it."""

    needs_others = False
    """Whether it needs the estimates of all sources, whichever are wanted."""
    passes_a_view = 1
    """Passes that a step makes through each of its views."""

    def inputs(self, sources: int) -> int:
        """How many inputs each pass of a step has: by default one for each of so many sources."""
        return sources

    @abstractmethod
    def run(
        self, passes: Passes, path: Path, weights: Tensor, views: Views, references: Tensor | None = None
    ) -> Iterator[Step]:
        """Yield the estimates of step 0 and every further step; the sources travel side by side.

        Args:
            passes: The frozen separator.
            path: The passes over the mixture, and how passes are combined.
            weights: Blend weights `b_0 … b_N` of each source, each within [0, 1). The first belongs to the mixture
                and is 0.
            views: Which views each step takes.
            references: The true sources, to be blended in where the estimates would be.

        Shape:
            - weights: (step, source)
            - references and the estimates: (batch, source, channel, time)
        """


class FromMixture(Sampler):
    """Each step starts again from the mixture: it is re-noised from the original.

    Args:
        rule: How the input is built of the mixture and the estimates; by default the estimate is added to it.

    Example:
        A separator that hears half of what it should gets 3/4 of it back from a mixture in which its
        estimate stands for half:

        >>> import torch
        >>> from mdx_progressive.combine import Last
        >>> from mdx_progressive.views import OneView
        >>> mixture = torch.ones(1, 1, 4)
        >>> passes = Passes(lambda mixtures: 0.5 * mixtures, mixture, ["vocals"], sample_rate=44100)
        >>> path = Path(passes.over(mixture[:, None]), Last())
        >>> steps = FromMixture().run(passes, path, torch.tensor([[0.0], [0.5]]), OneView())
        >>> [step.estimates[0, 0, 0, 0].item() for step in steps]
        [0.5, 0.375]
    """

    def __init__(self, rule: Remix | None = None) -> None:
        self.rule = rule or AddToMixture()
        self.needs_others = self.rule.needs_others

    def run(
        self, passes: Passes, path: Path, weights: Tensor, views: Views, references: Tensor | None = None
    ) -> Iterator[Step]:
        yield Step(0, weights[0], path.estimates)
        for step in range(1, len(weights)):
            known = path.estimates if references is None else references
            inputs = self.rule(passes.mixture, known, _of_sources(weights[step], known), passes.sources)
            yield Step(step, weights[step], path.add(passes.over(inputs, views.at(step))))


class Halves(Sampler):
    """Half of the sources is taken out of the mixture, and the other half is separated from what is left; both ways.

    A pass hears the sources of a half `H` in `y_n = y - b_n sum_j x_j`, over the sources `j` that are not in `H`, where
    `b_n` is the mean weight of those that are: so it has to tell them apart from each other alone. Each pass of a step,
    through a view of its own, splits the sources in another way. Four sources can be split in three ways, in which each
    is once with each other one. With two sources it is `remix.SubtractOthers`.

    Raises:
        MdxError: If the separator has one source only, when it runs.

    Example:
        >>> Halves.splits(4)
        [[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]]
        >>> Halves.splits(3)
        [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """

    needs_others = True

    def inputs(self, sources: int) -> int:
        return min(2, sources)

    @staticmethod
    def splits(sources: int) -> list[list[int]]:
        """The ways to split so many sources: for each source the half in which it is.

        Each is the one that puts together those which the ones before it have put together the least.
        """
        pairs = list(combinations(range(sources), 2))
        ways = [
            [0 if source in half else 1 for source in range(sources)]
            for half in combinations(range(sources), sources // 2)
            if sources % 2 or 0 in half
        ]
        met = Counter[tuple[int, int]]()

        def again(way: list[int]) -> int:
            return sum(met[one, two] ** 2 for one, two in pairs if way[one] == way[two])

        found = []
        while ways:
            found.append(min(ways, key=again))
            ways.remove(found[-1])
            met.update((one, two) for one, two in pairs if found[-1][one] == found[-1][two])
        return found

    def run(
        self, passes: Passes, path: Path, weights: Tensor, views: Views, references: Tensor | None = None
    ) -> Iterator[Step]:
        if len(passes.sources) < 2:
            raise MdxError(f"Halves needs two sources or more, and there is {passes.sources[0]} alone")
        yield Step(0, weights[0], path.estimates)
        turns = cycle(self.splits(len(passes.sources)))
        for step in range(1, len(weights)):
            known = path.estimates if references is None else references
            of_views = [self._pass(passes, known, weights[step], next(turns), view) for view in views.at(step)]
            yield Step(step, weights[step], path.add(torch.cat(of_views)))

    @staticmethod
    def _pass(passes: Passes, known: Tensor, weights: Tensor, split: Sequence[int], view: View) -> Tensor:
        kept = [[half == number for half in split] for number in (0, 1)]
        taken = [
            weights[here].mean().to(known) * known[:, there].sum(dim=1)
            for here, there in zip(kept, reversed(kept), strict=True)
        ]
        return passes.over(passes.mixture.unsqueeze(1) - torch.stack(taken, dim=1), [view], heard_in=split)


class Euler(Sampler):
    """Euler steps along `dy / dsigma = (y - f_t(y)) / sigma`, from the mixture at `sigma = 1` to `1 - b_n`.

    `y_n = (s_n / s_{n-1}) y_{n-1} + (1 - s_n / s_{n-1}) x_{n-1}`, Karras et al. 2022, section 2. With `churn` some
    of what was taken away is added back before each step: EDM adds white noise (algorithm 2), this adds estimated
    accompaniment `y - x`, up to `sigma (1 + churn)` but no more than the mixture has.

    Args:
        churn: EDM's `gamma`, 0 or more: the part of the accompaniment left that is added back.

    Raises:
        MdxError: If `churn` is negative.
    """

    def __init__(self, churn: float = 0.0) -> None:
        if not churn >= 0:
            raise MdxError(f"churn must be 0 or more, not {churn}")
        self.churn = churn

    def run(
        self, passes: Passes, path: Path, weights: Tensor, views: Views, references: Tensor | None = None
    ) -> Iterator[Step]:
        yield Step(0, weights[0], path.estimates)
        mixture = passes.mixture.unsqueeze(1)
        state = mixture.expand_as(path.estimates)
        sigma = 1 - _of_sources(weights[0], state)
        for step in range(1, len(weights)):
            known = path.estimates if references is None else references
            louder = (sigma * (1 + self.churn)).clamp(max=1)
            state = state + (louder - sigma) * (mixture - known)
            slope = (state - known) / louder
            sigma = 1 - _of_sources(weights[step], state)
            state = state + (sigma - louder) * self._slope(slope, state, louder, sigma, passes, views, step)
            yield Step(step, weights[step], path.add(passes.over(state, views.at(step))))

    def _slope(
        self, slope: Tensor, state: Tensor, now: Tensor, then: Tensor, passes: Passes, views: Views, step: int
    ) -> Tensor:
        """The slope along which the state goes from one sigma to the next, given that at its beginning."""
        return slope


class Heun(Euler):
    """Heun steps: the mean of the slopes at both ends of an Euler step. Karras et al. 2022, algorithm 2.

    A step makes two passes through each of its views: one where the Euler step leads, which only shapes the
    input, and one where the mean slope leads.

    Args:
        churn: As for `Euler`.

    Raises:
        MdxError: If `churn` is negative.
    """

    passes_a_view = 2

    def _slope(
        self, slope: Tensor, state: Tensor, now: Tensor, then: Tensor, passes: Passes, views: Views, step: int
    ) -> Tensor:
        ahead = state + (then - now) * slope
        return 0.5 * (slope + (ahead - passes.over(ahead, views.at(step)).mean(dim=0)) / then)


def _of_sources(weights: Tensor, signals: Tensor) -> Tensor:
    """A weight for each source, to be multiplied with signals (batch, source, channel, time)."""
    return weights.to(signals)[:, None, None]
