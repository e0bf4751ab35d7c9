"""Search instead of a schedule: each step tries several blend weights and scores the outputs.

After Zang, Li and Kong, 2025 (arXiv 2505.19534), who keep the candidate with the highest SDR against the true
source: that is `OracleScore`, a bound. The other scores need no reference. Each makes an error signal out of a
candidate, whose score is its own power over that of its error, in dB.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from mdx_progressive.progressive.augmentations import Augmentation
from mdx_progressive.progressive.methods import Method
from mdx_progressive.progressive.passes import Passes
from mdx_progressive.progressive.remix import AddToMixture, Remix
from mdx_progressive.progressive.schedules import checked_weights
from mdx_progressive.progressive.trajectory import Step
from mdx_progressive.runtime import MdxError

_SMALL = 1e-10


class Region:
    """The part of the signal over which a score is computed and one candidate is chosen.

    A chunk that is longer than `data.block`, as most songs are in `predict`, chooses for each block.

    Args:
        seconds: Length of the stretches that choose separately, crossfaded; by default the whole chunk.
        per_channel: Whether each channel chooses separately.

    Raises:
        MdxError: If `seconds` is not above 0.
    """

    def __init__(self, seconds: float | None = None, per_channel: bool = False) -> None:
        if seconds is not None and not seconds > 0:
            raise MdxError(f"the length of a stretch must be above 0 seconds, not {seconds}")
        self.seconds, self.per_channel = seconds, per_channel

    def energy(self, signals: Tensor, sample_rate: int) -> Tensor:
        """Energy of each part that chooses separately.

        Shape:
            - signals: (candidate, batch, source, channel, time)
            - result: (candidate, batch, source, channel or 1, stretch)

        Example:
            >>> Region(seconds=2).energy(torch.ones(1, 1, 1, 2, 5), sample_rate=1).tolist()
            [[[[[4.0, 4.0, 2.0]]]]]
        """
        power = signals.square()
        if not self.per_channel:
            power = power.sum(dim=-2, keepdim=True)
        time = power.shape[-1]
        length = self._length(time, sample_rate)
        stretches: Tensor = pad(power, (0, -time % length)).unflatten(-1, (-1, length))
        return stretches.sum(dim=-1)

    def spread(self, weights: Tensor, time: int, sample_rate: int) -> Tensor:
        """Weights (candidate, batch, source, channel or 1, stretch) interpolated to every sample, (..., time).

        Each weight holds in the middle of its stretch, also where the last stretch is cut short.

        Example:
            >>> Region(seconds=2).spread(torch.tensor([[0.0, 1.0, 2.0]]), time=5, sample_rate=1).tolist()
            [[0.0, 0.25, 0.75, 1.25, 1.75]]
        """
        flat = weights.flatten(0, -2).unsqueeze(1)
        whole = weights.shape[-1] * self._length(time, sample_rate)
        return interpolate(flat, size=whole, mode="linear")[..., :time].reshape(*weights.shape[:-1], time)

    def _length(self, time: int, sample_rate: int) -> int:
        """Samples of a stretch."""
        return time if self.seconds is None else min(time, max(1, round(self.seconds * sample_rate)))


class Score(ABC):
    """How good a candidate is."""

    needs_references = False
    """Whether it needs the references: a bound, for evaluation only."""
    needs_all_sources = False
    """Whether it needs the estimates of all sources."""
    passes = 0
    """Passes for each candidate."""

    @abstractmethod
    def decibels(self, passes: Passes, candidates: Tensor, references: Tensor | None, region: Region) -> Tensor:
        """The candidates' scores in dB; higher is better.

        Args:
            passes: The separator and the mixture.
            candidates: The candidates.
            references: The true sources.
            region: The parts that are scored separately.

        Shape:
            - candidates: (candidate, batch, source, channel, time)
            - references: (batch, source, channel, time)
            - result: (candidate, batch, source, channel or 1, stretch)
        """


class ErrorScore(Score):
    """A score that derives an error signal from each candidate."""

    @abstractmethod
    def error(self, passes: Passes, candidates: Tensor, references: Tensor | None) -> tuple[Tensor, Tensor]:
        """The error, which should be small, and the signal it is compared with; both in the candidates' shape."""

    def decibels(self, passes: Passes, candidates: Tensor, references: Tensor | None, region: Region) -> Tensor:
        error, whole = (region.energy(each, passes.sample_rate) for each in self.error(passes, candidates, references))
        return 10 * torch.log10((whole + _SMALL) / (error + _SMALL))


class OracleScore(ErrorScore):
    """The SI-SDR against the true source: the oracle among the scores. In stretches, the scale is that of the chunk."""

    needs_references = True

    def error(self, passes: Passes, candidates: Tensor, references: Tensor | None) -> tuple[Tensor, Tensor]:
        if references is None:
            raise MdxError("OracleScore needs the references: it works in `test`, not in `predict`")
        gain = (candidates * references).sum(dim=-1, keepdim=True) / (
            candidates.square().sum(-1, keepdim=True) + _SMALL
        )
        return gain * candidates - references, gain * candidates


class Agreement(ErrorScore):
    """A good estimate is found again when it is blended into the mixture and separated through an augmentation.

    One pass for each candidate.

    Args:
        weight: Blend weight of the candidate within that input, within [0, 1).
        augmentation: The augmentation; by default a shift of 1.5 s with inverted polarity.

    Raises:
        MdxError: If the weight is out of its range.
    """

    passes = 1

    def __init__(self, weight: float = 0.3, augmentation: Augmentation | None = None) -> None:
        (self.weight,) = checked_weights([weight], "the weight of Agreement")
        self.augmentation = augmentation or Augmentation(shift=1.5, flip=True)

    def error(self, passes: Passes, candidates: Tensor, references: Tensor | None) -> tuple[Tensor, Tensor]:
        inputs = torch.lerp(passes.mixture.unsqueeze(1).expand_as(candidates), candidates, self.weight)
        (again,) = passes.separate(inputs.flatten(0, 1), [self.augmentation])
        return candidates - again.view(candidates.shape), candidates


class MissedTarget(ErrorScore):
    """A good estimate leaves nothing of its source behind: `f_t(y - x_t)`. One pass for each candidate."""

    passes = 1

    def error(self, passes: Passes, candidates: Tensor, references: Tensor | None) -> tuple[Tensor, Tensor]:
        (missed,) = passes.separate((passes.mixture.unsqueeze(1) - candidates).flatten(0, 1))
        return missed.view(candidates.shape), candidates


class Interference(ErrorScore):
    """A good estimate contains only its source: `x_t - f_t(x_t)`, what is lost when it is separated again.

    For a separator whose estimates add up to its input this is `sum_{j != t} f_j(x_t)`. One pass for each candidate.
    """

    passes = 1

    def error(self, passes: Passes, candidates: Tensor, references: Tensor | None) -> tuple[Tensor, Tensor]:
        (kept,) = passes.separate(candidates.flatten(0, 1))
        return candidates - kept.view(candidates.shape), candidates


class Residual(ErrorScore):
    """Good estimates add up to the mixture: `y - sum_j x_j`. No pass."""

    needs_all_sources = True

    def error(self, passes: Passes, candidates: Tensor, references: Tensor | None) -> tuple[Tensor, Tensor]:
        residual = passes.mixture.unsqueeze(1) - candidates.sum(dim=2, keepdim=True)
        return residual.expand_as(candidates), passes.mixture.unsqueeze(1).expand_as(candidates)


class Weighted(Score):
    """The weighted sum of several scores, in dB.

    Args:
        scores: The scores.
        weights: A weight for each; by default 1.

    Raises:
        MdxError: If there are not as many weights as scores, or no scores.
    """

    def __init__(self, scores: Sequence[Score], weights: Sequence[float] | None = None) -> None:
        self.scores = list(scores)
        self.weights = [1.0] * len(self.scores) if weights is None else list(weights)
        if not self.scores or len(self.weights) != len(self.scores):
            raise MdxError(f"Weighted needs as many weights as scores, not {len(self.weights)} for {len(self.scores)}")
        self.needs_references = any(score.needs_references for score in self.scores)
        self.needs_all_sources = any(score.needs_all_sources for score in self.scores)
        self.passes = sum(score.passes for score in self.scores)

    def decibels(self, passes: Passes, candidates: Tensor, references: Tensor | None, region: Region) -> Tensor:
        every = [score.decibels(passes, candidates, references, region) for score in self.scores]
        total = self.weights[0] * every[0]
        for weight, each in zip(self.weights[1:], every[1:], strict=True):
            total = total + weight * each
        return total


class Search(Method):
    """Each step tries several blend weights and keeps the output with the best score, or the current estimate.

    Once no candidate is better than the current estimate, the search stops and makes no more passes.

    Args:
        score: Scores the candidates.
        weights: The blend weights to try, each within [0, 1).
        steps: Number of steps after the plain pass.
        rule: How the input is built from the mixture and the estimates; by default the estimate is added.
        region: The parts of a chunk that choose separately; by default each chunk as a whole.
        temperature: In dB: above 0 the candidates are averaged with weights `exp(score / temperature)`; 0 takes the
            best one.
        name: Name in tables, charts and files.

    Raises:
        MdxError: If a parameter is out of its range.
    """

    def __init__(
        self,
        score: Score,
        weights: Sequence[float] = (0.2, 0.4, 0.6),
        steps: int = 3,
        rule: Remix | None = None,
        region: Region | None = None,
        temperature: float = 0.0,
        name: str = "search",
    ) -> None:
        super().__init__(name)
        if steps < 0 or not temperature >= 0:
            raise MdxError(f"steps and temperature must be 0 or more, not {steps} and {temperature}")
        self.score, self._steps = score, steps
        self.weights = checked_weights(weights, "the weights of a search")
        self.rule, self.region, self.temperature = rule or AddToMixture(), region or Region(), temperature
        self.needs_references = score.needs_references
        self.needs_all_sources = self.rule.needs_all_sources or score.needs_all_sources

    @property
    def steps(self) -> int:
        return self._steps

    def passes(self, sources: int) -> int:
        """The upper limit: it may stop earlier."""
        count = len(self.weights)
        return 1 + sources * self.steps * (count + (count + 1) * self.score.passes)

    def run(self, passes: Passes, first: Tensor, references: Tensor | None) -> Iterator[Step]:
        estimates, converged = first, False
        yield Step(0, torch.zeros(len(passes.sources)), estimates)
        for step in range(1, self.steps + 1):
            if not converged:
                chosen, estimates = self._better(passes, estimates, references)
                converged = bool((chosen[0] == 1).all())
            yield Step(step, torch.full((len(passes.sources),), torch.nan), estimates)

    def _better(self, passes: Passes, estimates: Tensor, references: Tensor | None) -> tuple[Tensor, Tensor]:
        """The shares of the candidates in the next estimates, and these estimates."""
        inputs = [self.rule(passes.mixture, estimates, weight, passes.sources) for weight in self.weights]
        (estimated,) = passes.separate(torch.cat(inputs))
        candidates = torch.cat([estimates.unsqueeze(0), estimated.view(len(inputs), *estimates.shape)])
        scores = self.score.decibels(passes, candidates, references, self.region)
        if self.temperature > 0:
            chosen = torch.softmax(scores / self.temperature, dim=0)
        else:
            chosen = torch.zeros_like(scores).scatter_(0, scores.argmax(dim=0, keepdim=True), 1.0)
        shares = self.region.spread(chosen, estimates.shape[-1], passes.sample_rate)
        return chosen, (shares * candidates).sum(dim=0)
