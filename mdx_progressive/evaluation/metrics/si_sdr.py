"""SI-SDR, as torchmetrics computes it."""

from typing import ClassVar

import torch
from torch import Tensor

from mdx_progressive.dsp import SILENCE_DB
from mdx_progressive.evaluation.metrics.base import (
    EvaluationContext,
    Measure,
    Metric,
    at_unit_level,
    is_zero,
    mean_over_channels,
)
from mdx_progressive.evaluation.metrics.scale import Scale


class SiSdr(Metric):
    """Scale-invariant signal-to-distortion ratio, mean over the channels: `si_sdr`.

    Le Roux, Wisdom, Erdogan and Hershey 2019, "SDR - half-baked or well done?":

        SI-SDR = 10 log10 (|a x|² / |a x - x̂|²)        a = <x̂, x> / |x|²

    Args:
        improvement: Whether `si_sdr_i` is measured too, the difference to the SI-SDR of the mixture. Channels in which
            everything but the source is 60 dB below it are left out: the mixture can't be improved on there.
    """

    scales: ClassVar[dict[str, Scale]] = {
        "si_sdr": Scale("SI-SDR"),
        "si_sdr_i": Scale("SI-SDR improvement"),
    }

    def __init__(self, improvement: bool = False) -> None:
        self.improvement = improvement

    def _prepare(self, context: EvaluationContext) -> Measure:
        references, silent = context.target_references
        if not self.improvement:
            return lambda estimates: {"si_sdr": si_sdr(estimates, references, silent)}
        mixture = _by_channel(context.mixture.unsqueeze(1).expand_as(references), references)
        left_out = silent | (mixture > SILENCE_DB)

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            values = _by_channel(estimates, references)
            return {
                "si_sdr": mean_over_channels(values, silent),
                "si_sdr_i": mean_over_channels(values - mixture, left_out),
            }

        return measure


def si_sdr(estimates: Tensor, references: Tensor, silent: Tensor | None = None) -> Tensor:
    """SI-SDR in dB, mean over the channels that are not silent.

    Args:
        estimates: The estimates.
        references: The true sources.
        silent: Which channels of the references count as silent; by default none.

    Shape:
        - estimates, references: (..., source, channel, time)
        - silent: (..., source, channel)
        - result: (..., source)

    Example:
        >>> reference = torch.tensor([[[[1.0, 1.0, -1.0, -1.0]]]])
        >>> error = torch.tensor([[[[0.1, -0.1, 0.1, -0.1]]]])
        >>> round(si_sdr(reference + error, reference).item(), 3)
        20.0
    """
    values = _by_channel(estimates, references)
    return mean_over_channels(values, torch.zeros_like(values, dtype=torch.bool) if silent is None else silent)


def _by_channel(estimates: Tensor, references: Tensor) -> Tensor:
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    own_level, unit = at_unit_level(estimates, estimates), at_unit_level(references, references)
    values = scale_invariant_signal_distortion_ratio(own_level, unit).to(references)
    return torch.where(is_zero(estimates), -SILENCE_DB, values)
