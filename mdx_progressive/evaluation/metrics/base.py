"""What a metric is, and how the rule for what has no value is applied (see the package's docstring)."""

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
    """What estimates of a batch of chunks are measured against.

    Args:
        mixture: The mixtures.
        references: All true sources.
        silent: Which of their channels are silent.
        targets: Indices of the sources that are estimated.
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
    def target_references(self) -> tuple[Tensor, Tensor]:
        """The references of the targets, and which of their channels are silent."""
        return self.references[:, self.targets], self.silent[:, self.targets]


class Metric(ABC):
    """Base of the metrics. A subclass declares the scales of its values, and measures without regard to silence."""

    scales: ClassVar[dict[str, Scale]]
    """How its values are read, by the names under which they are returned."""

    def prepare(self, context: EvaluationContext) -> Measure:
        """Compute once what all estimates of a batch share; returns the function that measures one of them.

        Raises:
            MdxError: From that function, if a value has no scale.
        """
        measure = self._prepare(context)
        _, silent = context.target_references
        silent_sources = silent.all(dim=-1)

        def measure_by_rule(estimates: Tensor) -> dict[str, Tensor]:
            broken = ~estimates.isfinite().flatten(2).all(dim=-1)
            results = {}
            for name, values in measure(estimates).items():
                if name not in self.scales:
                    raise MdxError(f"{type(self).__name__} measures {name}, which is missing from its scales")
                worst = torch.inf if self.scales[name].lower_is_better else -torch.inf
                results[name] = values.masked_fill(broken.to(values.device), worst)
                results[name].masked_fill_(silent_sources.to(values.device), torch.nan)
            return results

        return measure_by_rule

    @abstractmethod
    def _prepare(self, context: EvaluationContext) -> Measure:
        """As `prepare`; values of silent sources and of estimates that are not finite may be anything."""


def mean_over_channels(values: Tensor, silent: Tensor) -> Tensor:
    """Mean (batch, source) over the channels that are not silent; NaN where all are.

    Shape:
        - values, silent: (batch, source, channel)
    """
    return values.masked_fill(silent, torch.nan).nanmean(dim=-1)


def at_unit_level(signals: Tensor, like: Tensor) -> Tensor:
    """Signals (..., time) in float64, scaled by what brings others of that shape to a root mean square of 1.

    A measure has no level: torchmetrics' epsilon, which it adds to energies, would lower the ratios of quiet music.
    Apple's GPUs have no float64, so that the CPU measures for them.
    """
    device = torch.device("cpu") if signals.device.type == "mps" else signals.device
    power = like.to(device, torch.float64).square().mean(dim=-1, keepdim=True)
    return signals.to(device, torch.float64) / power.sqrt().clamp(min=torch.finfo(torch.float64).tiny)


def is_zero(signals: Tensor) -> Tensor:
    """Which channels of signals (..., time) are zero throughout."""
    return (signals == 0).all(dim=-1)
