"""Level of a chunk: one gain for mixture and references alike, undone on the estimates."""

import math
from abc import ABC, abstractmethod

from torch import Tensor


class Normalisation(ABC):
    """Brings the mixture to a level, in decibels relative to full scale.

    Args:
        level: The level in dB.
    """

    def __init__(self, level: float) -> None:
        self.level = level

    def gain(self, mixture: Tensor, sample_rate: int) -> float:
        """The factor for mixture and references; 1 for a mixture whose level can't be told, as silence.

        Shape:
            - mixture: (channel, time)
        """
        measured = self.measure(mixture, sample_rate)
        if not math.isfinite(measured):
            return 1.0
        return float(10 ** ((self.level - measured) / 20))

    @abstractmethod
    def measure(self, mixture: Tensor, sample_rate: int) -> float:
        """Level of a mixture (channel, time) in dB; minus infinity for silence."""


class Peak(Normalisation):
    """The highest absolute sample is brought to a level.

    Args:
        level: Peak level in dB of full scale.

    Example:
        >>> import torch
        >>> round(Peak(0.0).gain(torch.tensor([[0.5, -0.25]]), 44100), 4)
        2.0
    """

    def __init__(self, level: float = -1.0) -> None:
        super().__init__(level)

    def measure(self, mixture: Tensor, sample_rate: int) -> float:
        return float(20 * mixture.abs().max().log10())


class Rms(Normalisation):
    """The root mean square over all channels is brought to a level.

    Args:
        level: RMS level in dB of full scale.

    Example:
        >>> import torch
        >>> round(Rms(-20.0).gain(torch.ones(2, 8), 44100), 4)
        0.1
    """

    def __init__(self, level: float = -20.0) -> None:
        super().__init__(level)

    def measure(self, mixture: Tensor, sample_rate: int) -> float:
        return float(10 * mixture.double().square().mean().log10())


class Loudness(Normalisation):
    """The integrated loudness, ITU-R BS.1770-4 as pyloudnorm measures it, is brought to a level.

    A chunk shorter than one block of 0.4 s has no loudness and keeps its level.

    Args:
        level: Integrated loudness in LUFS.
    """

    def __init__(self, level: float = -14.0) -> None:
        super().__init__(level)

    def measure(self, mixture: Tensor, sample_rate: int) -> float:
        import pyloudnorm

        meter = pyloudnorm.Meter(sample_rate)
        if mixture.shape[-1] <= meter.block_size * sample_rate:
            return float("-inf")
        return float(meter.integrated_loudness(mixture.T.numpy()))
