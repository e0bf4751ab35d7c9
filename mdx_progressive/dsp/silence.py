"""Silence: which channels of a reference are inaudible in the mixture, by one rule for data and metrics."""

from torch import Tensor

SILENCE_DB = 60.0
"""A channel this many dB below the mixture counts as silent."""


def silent_channels(references: Tensor, mixture: Tensor) -> Tensor:
    """Which channels of the references are inaudible in the mixture.

    Shape:
        - references: (batch, source, channel, time)
        - mixture: (batch, channel, time)
        - result: (batch, source, channel)

    Example:
        >>> import torch
        >>> references = torch.tensor([[[[1.0, -1.0], [0.0, 0.0]]]])
        >>> silent_channels(references, references.sum(dim=1)).tolist()
        [[[False, True]]]
    """
    power = references.square().mean(dim=-1)
    threshold = mixture.square().mean(dim=(-2, -1))[:, None, None] * 10 ** (-SILENCE_DB / 10)
    return (power == 0) | (power < threshold)
