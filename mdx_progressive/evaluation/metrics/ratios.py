"""SI-SDR and SDR, as torchmetrics computes them."""

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

from mdx_progressive.dsp import SILENCE_DB
from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric, mean_over_channels
from mdx_progressive.evaluation.metrics.scale import Scale


class SiSdr(Metric):
    """SI-SDR, mean over the channels: `si_sdr`.

    Args:
        improvement: Whether `si_sdr_i` is measured too, by how much it exceeds that of the mixture. Channels in which
            all but the source lies 60 dB below it are left out: the mixture can't be improved on there.
    """

    scales: ClassVar[dict[str, Scale]] = {
        "si_sdr": Scale("SI-SDR"),
        "si_sdr_i": Scale("SI-SDR improvement"),
    }

    def __init__(self, improvement: bool = False) -> None:
        self.improvement = improvement

    def _prepare(self, known: EvaluationContext) -> Measure:
        references, silent = known.wanted
        if not self.improvement:
            return lambda estimates: {"si_sdr": si_sdr(estimates, references, silent)}
        mixture = _of_channels(known.mixture.unsqueeze(1).expand_as(references), references)
        left_out = silent | (mixture > SILENCE_DB)

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            values = _of_channels(estimates, references)
            return {
                "si_sdr": mean_over_channels(values, silent),
                "si_sdr_i": mean_over_channels(values - mixture, left_out),
            }

        return measure


class Sdr(Metric):
    """SDR over all channels and the whole chunk: `sdr`."""

    scales: ClassVar[dict[str, Scale]] = {"sdr": Scale("SDR")}

    def _prepare(self, known: EvaluationContext) -> Measure:
        references, silent = known.wanted
        return lambda estimates: {"sdr": sdr(estimates, references, silent)}


def si_sdr(estimates: Tensor, references: Tensor, silent: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019), mean over the channels.

    Shape:
        - estimates, references: (batch, source, channel, time)
        - silent: (batch, source, channel)
        - result: (batch, source)

    Example:
        >>> reference = torch.tensor([[[[1.0, 1.0, -1.0, -1.0]]]])
        >>> error = torch.tensor([[[[0.1, -0.1, 0.1, -0.1]]]])
        >>> round(si_sdr(reference + error, reference, torch.zeros(1, 1, 1, dtype=torch.bool)).item(), 3)
        20.0
    """
    return mean_over_channels(_of_channels(estimates, references), silent)


def _of_channels(estimates: Tensor, references: Tensor) -> Tensor:
    values = scale_invariant_signal_distortion_ratio(estimates, references)
    return torch.where(_nothing(estimates), -SILENCE_DB, values)


def sdr(estimates: Tensor, references: Tensor, silent: Tensor) -> Tensor:
    """Signal-to-distortion ratio in dB over all channels together and the whole chunk: the MDX challenges' SDR.

    Shape:
        - estimates, references: (batch, source, channel, time)
        - silent: (batch, source, channel)
        - result: (batch, source)

    Example:
        >>> reference = torch.tensor([[[[1.0, -1.0]]]])
        >>> round(sdr(0.9 * reference, reference, torch.zeros(1, 1, 1, dtype=torch.bool)).item(), 3)
        20.0
    """
    values = signal_noise_ratio(estimates.flatten(-2), references.flatten(-2))
    values = torch.where(_nothing(estimates).all(dim=-1), -SILENCE_DB, values)
    return torch.where(silent.all(dim=-1), torch.nan, values)


def _nothing(estimates: Tensor) -> Tensor:
    return (estimates == 0).all(dim=-1)
