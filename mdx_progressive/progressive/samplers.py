"""Progressive inference: separate, blend the estimate into the mixture, separate again.

Let `y` be the mixture, `f` a frozen separator, `t` the target and `b_0 = 0, b_1, …, b_N` the blend weights
of a schedule. Then

    x_0 = f_t(y)                                    the plain one pass
    y_n = (1 - b_n) y + b_n x_{n-1}                 the target grows louder by -20 log10(1 - b_n) dB
    x_n = f_t(y_n)                                  the same network, an easier mixture

The rest of the mixture plays the part of the noise in a diffusion sampler: its gain at step `n` is
`sigma_n = 1 - b_n`. `FromMixture` starts every step from the mixture again, by one of the rules of `remix`: an error
of one step reaches the next only through the blended estimate. `Halves` subtracts half of the sources at a time.
`Euler` and `Heun` start from the input of the previous step, as samplers of diffusion models do.

A step may take several passes, each with its own augmentation of the input (`augmentations`); the estimate may be
combined from all passes so far (`combine`) and corrected (`corrections`), so that the blended estimate is itself
denoised.

With the true stem in place of the estimate the same lines are the **oracle**, the upper bound of any re-weighting of
the input. It needs the references, so it belongs to evaluation.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, cycle, islice

import torch
from torch import Tensor

from mdx_progressive.progressive.augmentations import Augmentation, AugmentationPlan
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.remix import AddToMixture, Remix
from mdx_progressive.progressive.trajectory import Step, Trajectory
from mdx_progressive.runtime import MdxError

_Separate = Callable[[Tensor], Tensor]
"""An input of a step (batch, source, channel, time) to its passes (pass, batch, source, channel, time)."""


class Sampler(ABC):
    """How the input of each step follows from those before it."""

    needs_all_sources = False
    """Whether it needs the estimates of all sources, not of the targets alone."""

    def passes(self, sources: int) -> int:
        """Network passes of a step for each of its augmentations, for a number of sources: by default one for each."""
        return sources

    def saved_passes(self, sources: int, counts: Sequence[int], targets: Sequence[int]) -> int:
        """How many of them the last step leaves out where only some sources are wanted in the end.

        Args:
            sources: Number of sources.
            counts: Augmentations of each step after step 0.
            targets: Indices of the wanted sources.
        """
        return 0

    @abstractmethod
    def run(
        self,
        passes: Passes,
        trajectory: Trajectory,
        weights: Tensor,
        augmentations: AugmentationPlan,
        references: Tensor | None = None,
    ) -> Iterator[Step]:
        """Yield the estimates of step 0 and of every further step, all sources together.

        Args:
            passes: The frozen separator.
            trajectory: The passes over the mixture, and how passes are combined.
            weights: Blend weights `b_0 … b_N` of each source, each within [0, 1). The first belongs to the mixture
                and is 0.
            augmentations: The augmentations of each step.
            references: The true sources, blended in instead of the estimates.

        Shape:
            - weights: (step, source)
            - references and the estimates: (batch, source, channel, time)
        """


class FromMixture(Sampler):
    """Each step starts from the mixture again: it is re-noised from the original.

    Args:
        rule: How the input is built from the mixture and the estimates; by default the estimate is added.

    Example:
        A separator that finds half of its source finds 3/8 of it in a mixture that its estimate replaces by half:

        >>> import torch
        >>> from mdx_progressive.progressive.combine import Last
        >>> from mdx_progressive.progressive.augmentations import NoAugmentation
        >>> mixture = torch.ones(1, 1, 4)
        >>> passes = Passes(lambda mixtures: 0.5 * mixtures, mixture, ["vocals"], sample_rate=44100)
        >>> trajectory = Trajectory(passes.separate(mixture[:, None]), Last())
        >>> steps = FromMixture().run(passes, trajectory, torch.tensor([[0.0], [0.5]]), NoAugmentation())
        >>> [step.estimates[0, 0, 0, 0].item() for step in steps]
        [0.5, 0.375]
    """

    def __init__(self, rule: Remix | None = None) -> None:
        self.rule = rule or AddToMixture()
        self.needs_all_sources = self.rule.needs_all_sources

    def run(
        self,
        passes: Passes,
        trajectory: Trajectory,
        weights: Tensor,
        augmentations: AugmentationPlan,
        references: Tensor | None = None,
    ) -> Iterator[Step]:
        yield Step(0, weights[0], trajectory.estimates)
        for step in range(1, len(weights)):
            known = trajectory.estimates if references is None else references
            inputs = self.rule(passes.mixture, known, _per_source(weights[step], known), passes.sources)
            yield Step(step, weights[step], trajectory.add(passes.separate(inputs, augmentations.at(step))))


class Halves(Sampler):
    """Half of the sources is subtracted from the mixture, and the other half separated from the rest; both ways.

    A pass estimates the sources of a half `H` from `y_n = y - b_n sum_j x_j`, over the sources `j` outside `H`, where
    `b_n` is the mean weight of the sources inside: it only has to tell these apart from each other. Each pass of a
    step, with its own augmentation, splits the sources in another way. Four sources have three splits, in which each
    source is paired once with each other one. With two sources this is `remix.SubtractOthers`. Where only some sources
    are wanted in the end (`Passes.targets`), the last step leaves out the halves that have none of them.

    Args:
        factors: For each split in turn, the share of `b_n` that counts: less leaves some of the others in, as context
            for the network.
        sequential_from: From this step on, each pass starts from the estimates that the passes of the step before it
            have changed (as Gauss-Seidel iterations do); by default all of a step start from the same (Jacobi).

    Raises:
        MdxError: If a factor is not within [0, 1], or the separator has only one source, when it runs.

    Example:
        >>> Halves.splits(4)
        [[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]]
        >>> Halves.splits(3)
        [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    """

    needs_all_sources = True

    def __init__(self, factors: Sequence[float] = (1.0,), sequential_from: int | None = None) -> None:
        if not factors or not all(0 <= factor <= 1 for factor in factors):
            raise MdxError(f"factors of halves must lie within [0, 1], not {[*factors]}")
        self.factors = list(factors)
        self.sequential_from = sequential_from

    def passes(self, sources: int) -> int:
        return min(2, sources)

    def saved_passes(self, sources: int, counts: Sequence[int], targets: Sequence[int]) -> int:
        if sources < 2 or not counts:
            return 0
        sequential = self.sequential_from is not None and len(counts) >= self.sequential_from
        first = sum(counts) - 1 if sequential else sum(counts[:-1])
        splits = islice(cycle(self.splits(sources)), first, sum(counts))
        return sum(2 - len({split[target] for target in targets}) for split in splits)

    @staticmethod
    def splits(sources: int) -> list[list[int]]:
        """The ways to split a number of sources into halves: for each source the index of its half.

        They are ordered so that each split pairs the sources that the splits before it have paired least often.
        """
        pairs = list(combinations(range(sources), 2))
        candidates = [
            [0 if source in half else 1 for source in range(sources)]
            for half in combinations(range(sources), sources // 2)
            if sources % 2 or 0 in half
        ]
        times_paired = Counter[tuple[int, int]]()

        def repetitions(split: list[int]) -> int:
            return sum(times_paired[one, two] ** 2 for one, two in pairs if split[one] == split[two])

        splits = []
        while candidates:
            split = min(candidates, key=repetitions)
            candidates.remove(split)
            splits.append(split)
            times_paired.update((one, two) for one, two in pairs if split[one] == split[two])
        return splits

    def run(
        self,
        passes: Passes,
        trajectory: Trajectory,
        weights: Tensor,
        augmentations: AugmentationPlan,
        references: Tensor | None = None,
    ) -> Iterator[Step]:
        if len(passes.sources) < 2:
            raise MdxError(f"Halves needs two sources or more, and there is {passes.sources[0]} alone")
        yield Step(0, weights[0], trajectory.estimates)
        splits, factors = cycle(self.splits(len(passes.sources))), cycle(self.factors)
        for step in range(1, len(weights)):
            sequential = self.sequential_from is not None and step >= self.sequential_from
            step_passes: list[Tensor] = []
            for number, augmentation in enumerate(views := augmentations.at(step), 1):
                if references is not None:
                    known = references
                elif sequential and step_passes:
                    known = trajectory.with_part(torch.cat(step_passes))
                else:
                    known = trajectory.estimates
                # Up to here, what is not wanted in the end serves the passes that follow.
                last = step == len(weights) - 1 and (not sequential or number == len(views))
                wanted = [not last or source in passes.targets for source in passes.sources]
                weight, split = next(factors) * weights[step], next(splits)
                step_passes.append(self._pass(passes, known, weight, split, augmentation, wanted))
            yield Step(step, weights[step], trajectory.add(torch.cat(step_passes)))

    @staticmethod
    def _pass(
        passes: Passes,
        known: Tensor,
        weights: Tensor,
        split: Sequence[int],
        augmentation: Augmentation,
        wanted: Sequence[bool],
    ) -> Tensor:
        halves = [[half == index for half in split] for index in (0, 1)]
        subtracted = [
            weights[kept].mean().to(known) * known[:, others].sum(dim=1)
            for kept, others in zip(halves, reversed(halves), strict=True)
        ]
        inputs = passes.mixture.unsqueeze(1) - torch.stack(subtracted, dim=1)
        needed = sorted({half for half, each in zip(split, wanted, strict=True) if each})
        if needed == [0, 1]:
            return passes.separate(inputs, [augmentation], input_index=split)
        (only,) = needed
        estimates = passes.separate(inputs[:, [only]], [augmentation])
        return torch.where(torch.tensor(halves[only], device=known.device)[:, None, None], estimates, known)


class Euler(Sampler):
    """Euler steps along `dy / dsigma = (y - f_t(y)) / sigma`, from the mixture at `sigma = 1` to `1 - b_n`.

    `y_n = (s_n / s_{n-1}) y_{n-1} + (1 - s_n / s_{n-1}) x_{n-1}`, Karras et al. 2022, section 2. With `churn` some
    of the removed accompaniment is added back before each step: EDM adds white noise (algorithm 2), this adds the
    estimated accompaniment `y - x`, up to `sigma (1 + churn)` but no more than the mixture has.

    Args:
        churn: EDM's `gamma`, 0 or more: the accompaniment that is added back, relative to what is left of it.

    Raises:
        MdxError: If `churn` is negative.
    """

    def __init__(self, churn: float = 0.0) -> None:
        if not churn >= 0:
            raise MdxError(f"churn must be 0 or more, not {churn}")
        self.churn = churn

    def run(
        self,
        passes: Passes,
        trajectory: Trajectory,
        weights: Tensor,
        augmentations: AugmentationPlan,
        references: Tensor | None = None,
    ) -> Iterator[Step]:
        yield Step(0, weights[0], trajectory.estimates)
        mixture = passes.mixture.unsqueeze(1)
        state = mixture.expand_as(trajectory.estimates)
        sigma = 1 - _per_source(weights[0], state)
        for step in range(1, len(weights)):
            known = trajectory.estimates if references is None else references
            churned = (sigma * (1 + self.churn)).clamp(max=1)
            state = state + (churned - sigma) * (mixture - known)
            slope = (state - known) / churned
            sigma = 1 - _per_source(weights[step], state)
            separate = partial(passes.separate, augmentations=augmentations.at(step))
            state = state + (sigma - churned) * self._slope(slope, state, churned, sigma, separate)
            yield Step(step, weights[step], trajectory.add(separate(state)))

    def _slope(self, slope: Tensor, state: Tensor, now: Tensor, then: Tensor, separate: _Separate) -> Tensor:
        """The slope along which the state moves from sigma `now` to `then`, given the slope at its beginning."""
        return slope


class Heun(Euler):
    """Heun steps: the mean of the slopes at both ends of an Euler step. Karras et al. 2022, algorithm 2.

    A step makes two passes for each of its augmentations: one at the end of the Euler step, which only shapes the
    input, and one at the end of the step along the mean slope.

    Args:
        churn: As for `Euler`.

    Raises:
        MdxError: If `churn` is negative.
    """

    def passes(self, sources: int) -> int:
        return 2 * sources

    def _slope(self, slope: Tensor, state: Tensor, now: Tensor, then: Tensor, separate: _Separate) -> Tensor:
        predicted = state + (then - now) * slope
        return 0.5 * (slope + (predicted - separate(predicted).mean(dim=0)) / then)


def _per_source(weights: Tensor, signals: Tensor) -> Tensor:
    """A weight for each source, shaped to multiply signals (batch, source, channel, time)."""
    return weights.to(signals)[:, None, None]
