"""How good an estimate is: torchmetrics, with one written rule for silence and channels.

A channel of a reference is *silent* where it is zero or lies 60 dB below the mixture: nobody hears it, and a
ratio to it says nothing. Silent channels are left out of the mean over channels; a source with no other
channel has no value (NaN) and is left out of every further mean, and counted. An estimate of nothing at all
for a source that can be heard is given -60 dB, where torchmetrics says 0 dB.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_noise_ratio

SILENCE_DB = 60.0

Metric = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(estimates, references, silent) to values (batch, source) in dB."""


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


METRICS: dict[str, Metric] = {"si_sdr": si_sdr, "sdr": sdr}
"""Every metric that is reported, by its name in the results."""


def _nothing(estimates: Tensor) -> Tensor:
    return (estimates == 0).all(dim=-1)
