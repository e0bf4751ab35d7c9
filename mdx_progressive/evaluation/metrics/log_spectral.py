"""The distance of spectra in dB: what an ear that knows no phase may notice."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from mdx_progressive.dsp import framed_stft
from mdx_progressive.evaluation.metrics.base import EvaluationContext, Measure, Metric, mean_over_channels
from mdx_progressive.evaluation.metrics.scale import Scale

_WINDOW = 2048
_HOP = 512


class LogSpectralDistance(Metric):
    """The log-spectral distance in dB, mean over the channels: `lsd`. Lower is better.

    Root mean square over the bins of the difference of the levels, mean over the frames (Gray and Markel, 1976,
    "Distance measures for speech processing", with the discrete spectra of 2048 samples every 512, Hann window, that
    are usual since):

        LSD = mean_t sqrt(mean_f (L(x) - L(x̂))²)        L(x) = 10 log10 max(|X(t, f)|², floor)

    The floor lies `dynamic_range` below the loudest bin of the true channel, so that no level is minus infinity, and
    that the distance stays the same if all signals grow louder alike.

    Args:
        dynamic_range: How far below the loudest bin the floor lies, in dB.
    """

    scales: ClassVar[dict[str, Scale]] = {"lsd": Scale("Log-spectral distance", lower_is_better=True)}

    def __init__(self, dynamic_range: float = 80.0) -> None:
        self.dynamic_range = dynamic_range

    def _prepare(self, known: EvaluationContext) -> Measure:
        references, silent = known.wanted
        powers = _powers(references)
        floor = powers.amax(dim=(-2, -1), keepdim=True) * 10 ** (-self.dynamic_range / 10)
        # A silent channel has no floor of its own; its distance is not used.
        floor = floor.clamp(min=torch.finfo(floor.dtype).tiny)
        levels = _decibels(powers, floor)

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            difference = _decibels(_powers(estimates), floor) - levels
            distances = difference.square().mean(dim=-1).sqrt().mean(dim=-1)
            return {"lsd": mean_over_channels(distances, silent)}

        return measure


def _powers(signals: Tensor) -> Tensor:
    """Power spectra (..., frame, bin) of signals (..., time), with silence up to the end of the last frame.

    A signal shorter than a frame lies in its middle, since the window is zero at its ends.
    """
    time = signals.shape[-1]
    missing = max(_WINDOW - time, -(time - _WINDOW) % _HOP)
    before = max(_WINDOW - time, 0) // 2
    window = torch.hann_window(_WINDOW, device=signals.device, dtype=signals.dtype)
    return framed_stft(pad(signals, (before, missing - before)), window, _HOP).abs().square()


def _decibels(powers: Tensor, floor: Tensor) -> Tensor:
    return 10 * torch.log10(torch.maximum(powers, floor))
