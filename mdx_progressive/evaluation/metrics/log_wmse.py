"""logWMSE: the error as loud as it is heard, below the mixture."""

from typing import Any, ClassVar

from torch import Tensor

from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric, mean_over_channels
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.runtime import import_torchaudio


class LogWmse(Metric):
    """logWMSE (Jordal, Landschoot) as the package torch-log-wmse computes it, mean over the channels: `log_wmse`.

    Minus four times the natural logarithm of the mean square of the error, weighted by how well its frequencies are
    heard, over that of the mixture: 0 for an error as loud as the mixture, 73.7 for none. It has no unit. The weights
    are made for 44.1 kHz; at another rate values can be compared with each other only.
    """

    scales: ClassVar[dict[str, Scale]] = {"log_wmse": Scale("logWMSE", unit="")}

    def __init__(self) -> None:
        self._meters: dict[int, Any] = {}

    def _prepare(self, known: EvaluationContext) -> Measure:
        references, silent = known.wanted
        if known.sample_rate not in self._meters:
            import_torchaudio()
            from torch_log_wmse import LogWMSE

            self._meters[known.sample_rate] = LogWMSE(sample_rate=known.sample_rate)
        meter = self._meters[known.sample_rate].to(references.device)

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            # It takes (batch, channel, source, time).
            values: Tensor = meter.per_stem(known.mixture, estimates.transpose(1, 2), references.transpose(1, 2))
            return {"log_wmse": mean_over_channels(values.transpose(1, 2), silent)}

        return measure
