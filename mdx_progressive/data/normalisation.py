"""Normalisation of a chunk's or song's level: one gain for mixture and references alike, undone on the estimates."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor


class Normalisation(ABC):
    """Brings the mixture to a level, in decibels relative to full scale.

    Args:
        level: The level in dB.
    """

    def __init__(self, level: float) -> None:
        self.level = level

    def gain(self, mixture: Iterable[Tensor], sample_rate: int) -> float:
        """The factor for mixture and references; 1 for a mixture that has no level, as silence.

        Args:
            mixture: One or several consecutive pieces.
            sample_rate: In Hz.

        Shape:
            - mixture: each (channel, time)
        """
        measured = self.measure(mixture, sample_rate)
        return float(10 ** ((self.level - measured) / 20)) if math.isfinite(measured) else 1.0

    @abstractmethod
    def measure(self, mixture: Iterable[Tensor], sample_rate: int) -> float:
        """Level of a mixture in dB, given as for `gain`; minus infinity for silence."""


class Peak(Normalisation):
    """Brings the highest absolute sample to a level.

    Args:
        level: Peak level in dB of full scale.

    Example:
        >>> round(Peak(0.0).gain([torch.tensor([[0.5]]), torch.tensor([[-0.25]])], 44100), 4)
        2.0
    """

    def __init__(self, level: float = -1.0) -> None:
        super().__init__(level)

    def measure(self, mixture: Iterable[Tensor], sample_rate: int) -> float:
        return float(20 * torch.stack([piece.abs().max() for piece in mixture]).max().log10())


class Rms(Normalisation):
    """Brings the root mean square over all channels to a level.

    Args:
        level: RMS level in dB of full scale.
    """

    def __init__(self, level: float = -20.0) -> None:
        super().__init__(level)

    def measure(self, mixture: Iterable[Tensor], sample_rate: int) -> float:
        energies, counts = zip(*((piece.double().square().sum(), piece.numel()) for piece in mixture), strict=True)
        return float(10 * (torch.stack(energies).sum() / sum(counts)).log10())


class Loudness(Normalisation):
    """Brings the integrated loudness, ITU-R BS.1770-4 as pyloudnorm measures it, to a level.

    A chunk shorter than one block of 0.4 s has no loudness and keeps its level. All pieces of a song are in memory
    while it is measured.

    Args:
        level: Integrated loudness in LUFS.
    """

    def __init__(self, level: float = -14.0) -> None:
        super().__init__(level)

    def measure(self, mixture: Iterable[Tensor], sample_rate: int) -> float:
        import pyloudnorm

        whole = torch.cat(list(mixture), dim=-1)
        meter = pyloudnorm.Meter(sample_rate)
        if whole.shape[-1] <= meter.block_size * sample_rate:
            return float("-inf")
        return float(meter.integrated_loudness(whole.T.numpy()))
