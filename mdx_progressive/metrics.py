"""How good an estimate is: torchmetrics, with one written rule for silence and channels.

A channel of a reference is *silent* where it is zero or lies 60 dB below the mixture: nobody hears it, and a
ratio to it says nothing. Silent channels are left out of the mean over channels; a source with no other
channel has no value (NaN) and is left out of every further mean, and counted. An estimate of nothing at all
for a source that can be heard is given -60 dB, where torchmetrics says 0 dB.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

SILENCE_DB = 60.0

Measure = Callable[[Tensor], dict[str, Tensor]]
"""Estimates of the targets (batch, target, channel, time) to values (batch, target), by the name of the metric."""


class Known(NamedTuple):
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


class Metric(ABC):
    """How good estimates are, in dB."""

    @abstractmethod
    def against(self, known: Known) -> Measure:
        """Get ready for a batch, of which many estimates are to be measured."""


class SiSdr(Metric):
    """SI-SDR, mean over the channels: `si_sdr`.

    Args:
        improvement: Whether `si_sdr_i` is measured too, by how much it exceeds that of the mixture.
    """

    def __init__(self, improvement: bool = False) -> None:
        self.improvement = improvement

    def against(self, known: Known) -> Measure:
        references, silent = known.references[:, known.targets], known.silent[:, known.targets]
        if not self.improvement:
            return lambda estimates: {"si_sdr": si_sdr(estimates, references, silent)}
        mixture = si_sdr(known.mixture.unsqueeze(1).expand_as(references), references, silent)

        def measure(estimates: Tensor) -> dict[str, Tensor]:
            values = si_sdr(estimates, references, silent)
            return {"si_sdr": values, "si_sdr_i": values - mixture}

        return measure


class Sdr(Metric):
    """SDR over all channels and the whole chunk: `sdr`."""

    def against(self, known: Known) -> Measure:
        references, silent = known.references[:, known.targets], known.silent[:, known.targets]
        return lambda estimates: {"sdr": sdr(estimates, references, silent)}


def silent(references: Tensor, mixture: Tensor) -> Tensor:
    """Which channels of the references can't be heard within the mixture.

    Shape:
        - references: (batch, source, channel, time)
        - mixture: (batch, channel, time)
        - result: (batch, source, channel)

    Example:
        >>> references = torch.tensor([[[[1.0, -1.0], [0.0, 0.0]]]])
        >>> silent(references, references.sum(dim=1)).tolist()
        [[[False, True]]]
    """
    power = references.square().mean(dim=-1)
    heard = mixture.square().mean(dim=(-2, -1))[:, None, None] * 10 ** (-SILENCE_DB / 10)
    return (power == 0) | (power < heard)


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
    values = scale_invariant_signal_distortion_ratio(estimates, references)
    values = torch.where(_nothing(estimates), -SILENCE_DB, values)
    return torch.where(silent, torch.nan, values).nanmean(dim=-1)


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
