"""What a metric is, and the one written rule for what can't be measured (see the package's docstring)."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.runtime import MdxError

Measure = Callable[[Tensor], dict[str, Tensor]]
"""Estimates of the targets (batch, target, channel, time) to values (batch, target), by the name of the metric."""


class EvaluationContext(NamedTuple):
    """What is known of a batch of chunks before anything is estimated.

    Args:
        mixture: The mixtures.
        references: All true sources.
        silent: Which of their channels count as silent.
        targets: Which of them are estimated.
        sample_rate: Sample rate in Hz.

    Shape:
        - mixture: (batch, channel, time)
        - references: (batch, source, channel, time)
        - silent: (batch, source, channel)
    """

    mixture: Tensor
    references: Tensor
    silent: Tensor
    targets: list[int]
    sample_rate: int

    @property
    def wanted(self) -> tuple[Tensor, Tensor]:
        """The references of the targets, and which of their channels are silent."""
        return self.references[:, self.targets], self.silent[:, self.targets]


class Metric(ABC):
    """How good estimates are. A subclass says what its numbers stand for, and measures what can be measured."""

    scales: ClassVar[dict[str, Scale]]
    """What the values stand for, by the names under which they are measured."""

    def prepare(self, known: EvaluationContext) -> Measure:
        """Get ready for a batch, of which many estimates are to be measured.

        Raises:
            MdxError: By what is returned, if a value comes without its scale.
        """
        measure = self._prepare(known)
        _, silent = known.wanted
        unheard = silent.all(dim=-1)

        def ruled(estimates: Tensor) -> dict[str, Tensor]:
            broken = ~estimates.isfinite().flatten(2).all(dim=-1)
            kept = {}
            for name, values in measure(estimates).items():
                if name not in self.scales:
                    raise MdxError(f"{type(self).__name__} measures {name}, but its scales don't say what that is")
                worst = torch.inf if self.scales[name].lower_is_better else -torch.inf
                kept[name] = values.masked_fill(broken.to(values.device), worst)
                kept[name].masked_fill_(unheard.to(values.device), torch.nan)
            return kept

        return ruled

    @abstractmethod
    def _prepare(self, known: EvaluationContext) -> Measure:
        """Get ready for a batch; values of silent sources and of estimates that are not finite may be anything."""


def mean_over_channels(values: Tensor, silent: Tensor) -> Tensor:
    """Mean (batch, source) over the channels that can be heard; NaN where there is none.

    Shape:
        - values, silent: (batch, source, channel)
    """
    return values.masked_fill(silent, torch.nan).nanmean(dim=-1)
