"""SDR, as torchmetrics computes it."""

from typing import ClassVar

import torch
from torch import Tensor

from mdx_progressive.dsp import SILENCE_DB
from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric, at_unit_level, is_zero
from mdx_progressive.evaluation.metrics.scale import Scale


class Sdr(Metric):
    """Signal-to-distortion ratio over all channels and the whole chunk, as in the MDX challenges: `sdr`.

    Mitsufuji et al. 2022, "Music Demixing Challenge 2021":

        SDR = 10 log10 (|x|² / |x - x̂|²)
    """

    scales: ClassVar[dict[str, Scale]] = {"sdr": Scale("SDR")}

    def _prepare(self, context: EvaluationContext) -> Measure:
        references, silent = context.target_references
        return lambda estimates: {"sdr": sdr(estimates, references, silent)}


def sdr(estimates: Tensor, references: Tensor, silent: Tensor) -> Tensor:
    """SDR in dB; NaN where all channels are silent.

    Shape:
        - estimates, references: (batch, source, channel, time)
        - silent: (batch, source, channel)
        - result: (batch, source)

    Example:
        >>> reference = torch.tensor([[[[1.0, -1.0]]]])
        >>> round(sdr(0.9 * reference, reference, torch.zeros(1, 1, 1, dtype=torch.bool)).item(), 3)
        20.0
    """
    from torchmetrics.functional.audio import signal_noise_ratio

    flat = references.flatten(-2)
    values = signal_noise_ratio(at_unit_level(estimates.flatten(-2), flat), at_unit_level(flat, flat)).to(references)
    values = torch.where(is_zero(estimates).all(dim=-1), -SILENCE_DB, values)
    return torch.where(silent.all(dim=-1), torch.nan, values)
