"""logWMSE: the energy of the error, weighted by how well it is heard, relative to the mixture."""

from typing import Any, ClassVar

from torch import Tensor

from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric, mean_over_channels
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.runtime import import_torchaudio


class LogWmse(Metric):
    """logWMSE (Jordal, Landschoot) as the package torch-log-wmse computes it, mean over the channels: `log_wmse`.

        logWMSE = -4 ln(mean (w * (x - x̂))² / mean (w * mixture)² + 1e-8)

    The filter w weights frequencies by how well they are heard. 0 is an error as loud as the mixture, 73.7 no error. It
    has no unit. The filter is made for 44.1 kHz; values at another rate can be compared with each other only.
    """

    scales: ClassVar[dict[str, Scale]] = {"log_wmse": Scale("logWMSE", unit="")}

    def __init__(self) -> None:
        self._meters: dict[int, Any] = {}

    def _prepare(self, context: EvaluationContext) -> Measure:
        references, silent = context.target_references
        rate = context.sample_rate
        if rate not in self._meters:
            import_torchaudio()
            from torch_log_wmse import LogWMSE

            self._meters[rate] = LogWMSE(sample_rate=rate)
        meter = self._meters[rate].to(references.device)

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            # It takes (batch, channel, source, time).
            values: Tensor = meter.per_stem(context.mixture, estimates.transpose(1, 2), references.transpose(1, 2))
            return {"log_wmse": mean_over_channels(values.transpose(1, 2), silent)}

        return measure
