"""The state of a run: the passes of its steps so far, and the estimate that they are combined into."""

import copy
from collections.abc import Callable
from typing import NamedTuple, Self

from torch import Tensor

from mdx_progressive.progressive.combine import Combination


class Step(NamedTuple):
    """The result of one step of a method."""

    number: int
    """Number of the step; 0 is the plain mixture."""
    weights: Tensor
    """Blend weight `b_n` of each estimate within the input of this step (source,); NaN where chunks differ."""
    estimates: Tensor
    """Estimates `x_n` (batch, source, channel, time)."""


class Trajectory:
    """The passes of a run so far, and the estimate that they are combined into.

    Args:
        start: All passes over the mixture itself, (pass, batch, source, channel, time).
        combine: Combines the passes into one estimate.
        correct: Corrects that estimate at every step; by default nothing does.
    """

    def __init__(
        self, start: Tensor, combine: Combination, correct: Callable[["Trajectory", Tensor], Tensor] | None = None
    ) -> None:
        self._combine, self._correct = combine, correct
        self.passes: list[Tensor] = []
        """For each step that `combine` uses, its passes (pass, batch, source, channel, time)."""
        self.estimates = self.add(start)
        """The current estimates (batch, source, channel, time)."""

    def branch(self) -> Self:
        """The same trajectory so far, to try a step that this one does not make."""
        other = copy.copy(self)
        other.passes = list(self.passes)
        return other

    def add(self, passes: Tensor) -> Tensor:
        """Add the passes of a step; returns the new estimates."""
        self.estimates = self._combine([*self.passes, passes])
        self.passes.append(passes)
        if self._combine.steps is not None:
            del self.passes[: -self._combine.steps]
        if self._correct is not None:
            self.estimates = self._correct(self, self.estimates)
        return self.estimates

    def with_part(self, passes: Tensor) -> Tensor:
        """The estimates that these passes of an unfinished step would give; nothing is added."""
        return self.branch().add(passes)
