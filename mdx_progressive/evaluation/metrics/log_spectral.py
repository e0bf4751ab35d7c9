"""The log-spectral distance: how far spectra are apart in dB, whatever the phase."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric, mean_over_channels
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.spectrograms import decibels, power_spectra

_WINDOW = 2048
_HOP = 512


class LogSpectralDistance(Metric):
    """The log-spectral distance in dB, mean over the channels: `lsd`. Lower is better.

    Root mean square over the bins of the difference of the levels, mean over the frames (Gray and Markel 1976,
    "Distance measures for speech processing", with today's usual spectra: 2048 samples, hop 512, Hann window):

        LSD = mean_t sqrt(mean_f (L(x) - L(x̂))²)        L(x) = 10 log10 max(|X(t, f)|², floor)

    The floor is `dynamic_range` below the loudest bin of the reference's channel, so that no level is minus infinity,
    and that the distance does not change if all signals are scaled alike.

    Args:
        dynamic_range: Distance of the floor from the loudest bin in dB.
    """

    scales: ClassVar[dict[str, Scale]] = {"lsd": Scale("Log-spectral distance", lower_is_better=True, lost=80.0)}

    def __init__(self, dynamic_range: float = 80.0) -> None:
        self.dynamic_range = dynamic_range

    def _prepare(self, context: EvaluationContext) -> Measure:
        references, silent = context.target_references
        powers = _powers(references)
        floor = powers.amax(dim=(-2, -1), keepdim=True) * 10 ** (-self.dynamic_range / 10)
        # A silent channel has no floor of its own; its distance is not used.
        floor = floor.clamp(min=torch.finfo(floor.dtype).tiny)
        levels = decibels(powers, floor)

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            difference = decibels(_powers(estimates), floor) - levels
            distances = difference.square().mean(dim=-1).sqrt().mean(dim=-1)
            return {"lsd": mean_over_channels(distances, silent)}

        return measure


def _powers(signals: Tensor) -> Tensor:
    """Power spectra (..., frame, bin) of signals (..., time), padded with silence up to the end of the last frame.

    A signal shorter than a frame is centred in it, since the window is zero at its ends.
    """
    time = signals.shape[-1]
    missing = max(_WINDOW - time, -(time - _WINDOW) % _HOP)
    before = max(_WINDOW - time, 0) // 2
    return power_spectra(pad(signals, (before, missing - before)), _WINDOW, _HOP)
