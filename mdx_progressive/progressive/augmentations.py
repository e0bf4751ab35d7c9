"""Test-time augmentations: invertible changes of the input, whose estimates are changed back.

A perfect separator would give the same estimates for every augmentation; a trained one errs differently on each. The
mean of the estimates over `K` augmentations is closer to the sources than a single one on average:
`|mean|^2 = mean |e_k|^2 - mean |e_k - mean|^2` for the errors `e_k`, whatever the reference is.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from mdx_progressive.runtime import MdxError


def golden_ratio_fraction(number: int) -> float:
    """The fractional part of `number` golden ratios: every beginning of this sequence covers [0, 1) evenly.

    Example:
        >>> [round(golden_ratio_fraction(number), 2) for number in range(4)]
        [0.0, 0.62, 0.24, 0.85]
    """
    return math.fmod(number * (math.sqrt(5) - 1) / 2, 1)


@dataclass(frozen=True)
class Augmentation:
    """One change of the input, and its inverse.

    Args:
        shift: Silence before the music in seconds. It moves the separator's segments and frames against the music, so
            that each sample has a different context.
        flip: Whether the polarity is inverted.
        swap: Whether left and right are exchanged.
        side_gain: Gain of the side signal (left minus right), above 0; the mid signal stays.
        gain: Gain of the separator's input, a factor above 0.
        time_stretch: Factor, 1 or more, by which the input is resampled to a longer, slower and lower-pitched signal;
            used to the hundredth. Faster is not offered: it would lose the highest octaves. A network that was trained
            on tuned music separates music a semitone lower (1.0595) as well as the original, in between worse.

    Raises:
        MdxError: If `shift` is negative, `side_gain` or `gain` is not above 0, or `time_stretch` is below 1.
    """

    shift: float = 0.0
    flip: bool = False
    swap: bool = False
    side_gain: float = 1.0
    gain: float = 1.0
    time_stretch: float = 1.0

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise MdxError(f"the shift of an augmentation must be 0 or more, not {self.shift}")
        if not (self.gain > 0 and self.side_gain > 0):
            raise MdxError(
                f"gain and side_gain of an augmentation must be above 0, not {self.gain} and {self.side_gain}"
            )
        if not self.time_stretch >= 1:
            raise MdxError(f"time_stretch only slows down: it must be 1 or more, not {self.time_stretch}")

    def apply(self, inputs: Tensor, sample_rate: int) -> Tensor:
        """The augmented inputs.

        Shape:
            - inputs: (..., channel, time)
            - result: (..., channel, samples of the shift + at least time * time_stretch)

        Example:
            >>> import torch
            >>> augmentation = Augmentation(shift=1, flip=True, swap=True, gain=2)
            >>> augmentation.apply(torch.tensor([[1.0], [3.0]]), sample_rate=1).tolist()
            [[-0.0, -6.0], [-0.0, -2.0]]
        """
        augmented = self._scale_side(inputs.flip(-2) if self.swap else inputs, self.side_gain)
        if self.time_stretch != 1:
            padded, stretched = _stretch_lengths(self.time_stretch, augmented.shape[-1])
            augmented = _resample(functional.pad(augmented, (0, padded - augmented.shape[-1])), stretched)
        augmented = functional.pad(augmented, (self._shift_samples(sample_rate), 0))
        factor = self._factor
        return augmented if factor == 1 else factor * augmented

    def invert(self, estimates: Tensor, sample_rate: int, time: int) -> Tensor:
        """The estimates of the input itself.

        Args:
            estimates: Estimates of what `apply` returned.
            sample_rate: Sample rate in Hz.
            time: Samples of the input.

        Shape:
            - estimates: (..., channel, samples of the shift + at least time * time_stretch)
            - result: (..., channel, time)
        """
        inverted = estimates[..., self._shift_samples(sample_rate) :]
        if self.time_stretch != 1:
            inverted = _resample(inverted, _stretch_lengths(self.time_stretch, time)[0])[..., :time]
        inverted = self._scale_side(inverted, 1 / self.side_gain)
        inverted = inverted.flip(-2) if self.swap else inverted
        factor = self._factor
        return inverted if factor == 1 else inverted / factor

    def stretched(self, ratio: float) -> "Augmentation":
        """The same augmentation, stretched by a further factor."""
        return self if ratio == 1 else replace(self, time_stretch=ratio * self.time_stretch)

    @staticmethod
    def _scale_side(signal: Tensor, side_gain: float) -> Tensor:
        if side_gain == 1:
            return signal
        mid = signal.mean(dim=-2, keepdim=True)
        return mid + side_gain * (signal - mid)

    def _shift_samples(self, sample_rate: int) -> int:
        return round(self.shift * sample_rate)

    @property
    def _factor(self) -> float:
        return -self.gain if self.flip else self.gain


def _stretch_lengths(time_stretch: float, time: int) -> tuple[int, int]:
    """Samples to which a signal is padded, and to which it is then resampled: lengths whose FFTs are fast.

    Both are small multiples of a power of two, at most a sixtieth longer than necessary. Otherwise a song may have to
    be transformed at a length that is one large prime, which takes ten times as long.

    Example:
        >>> _stretch_lengths(1.03, 10_583_999)
        (10649600, 10969088)
    """
    ratio = Fraction(time_stretch).limit_denominator(100)
    multiple = -(-time // ratio.denominator)
    grid = 1 << max(0, multiple.bit_length() - 7)
    multiple = -(-multiple // grid) * grid
    return multiple * ratio.denominator, multiple * ratio.numerator


def _resample(signal: Tensor, time: int) -> Tensor:
    """The signal at another number of samples, through its spectrum; longer and back again is exact."""
    spectrum = torch.fft.rfft(signal)[..., : time // 2 + 1]
    resampled: Tensor = torch.fft.irfft(spectrum, n=time) * (time / signal.shape[-1])
    return resampled


IDENTITY = Augmentation()
"""The input as it is."""


class AugmentationPlan(ABC):
    """Which augmentations each step takes."""

    @abstractmethod
    def at(self, step: int) -> Sequence[Augmentation]:
        """The augmentations of a step, one or more. The first of step 0 is always `IDENTITY`: all methods share it."""

    def for_span(self, span: float) -> "AugmentationPlan":
        """The plan for a separator whose estimates depend on where the music lies within that many seconds."""
        return self


class NoAugmentation(AugmentationPlan):
    """The input as it is, at every step."""

    def at(self, step: int) -> Sequence[Augmentation]:
        return (IDENTITY,)


class AugmentationCycle(AugmentationPlan):
    """Every pass of the run gets its own augmentation: shifts spread over a span, the other changes in turn.

    The shift of pass `k` is `span` times the fractional part of `k` golden ratios. Every second pass has inverted
    polarity, every second pair of passes has its channels swapped.

    Args:
        first: Passes of step 0, over the mixture itself.
        each: Passes of every later step.
        span: Seconds over which the shifts are spread; by default the stride of the separator's segments (see
            `Separator.shift_span`).
        flip: Whether polarity takes part.
        swap: Whether the channels take part.
        side_gains: Gains of the side signal, taken in turn; the first is 1.
        gains: Levels, taken in turn; the first is 1. For separators that are not scale-free.
        time_stretch: Stretch factors, taken in turn; the first is 1.

    Raises:
        MdxError: If a number is out of its range.

    Example:
        >>> cycle = AugmentationCycle(first=3, span=10)
        >>> [(round(each.shift, 2), each.flip, each.swap) for each in cycle.at(0)]
        [(0.0, False, False), (6.18, True, False), (2.36, False, True)]
    """

    def __init__(
        self,
        first: int = 1,
        each: int = 1,
        span: float | None = None,
        flip: bool = True,
        swap: bool = True,
        side_gains: Sequence[float] = (1.0,),
        gains: Sequence[float] = (1.0,),
        time_stretch: Sequence[float] = (1.0,),
    ) -> None:
        if first < 1 or each < 1:
            raise MdxError(f"a step has at least one augmentation, not {min(first, each)}")
        if span is not None and span < 0:
            raise MdxError(f"the span of the shifts must be 0 or more, not {span}")
        for name, factors in (("gains", gains), ("side_gains", side_gains), ("time_stretch", time_stretch)):
            if not factors or factors[0] != 1 or not min(factors) > 0:
                raise MdxError(
                    f"{name} of the augmentations must be above 0 and begin with 1, the plain pass, not {list(factors)}"
                )
        self.first, self.each, self.span, self.flip, self.swap = first, each, span, flip, swap
        self.side_gains, self.gains, self.time_stretch = side_gains, gains, time_stretch

    def at(self, step: int) -> Sequence[Augmentation]:
        begin = 0 if step == 0 else self.first + (step - 1) * self.each
        return [self._augmentation(number) for number in range(begin, begin + (self.first if step == 0 else self.each))]

    def for_span(self, span: float) -> "AugmentationCycle":
        if self.span is not None:
            return self
        other = copy(self)
        other.span = span
        return other

    def _augmentation(self, number: int) -> Augmentation:
        return Augmentation(
            shift=(self.span or 0.0) * golden_ratio_fraction(number),
            flip=self.flip and number % 2 == 1,
            swap=self.swap and number // 2 % 2 == 1,
            side_gain=self.side_gains[number % len(self.side_gains)],
            gain=self.gains[number % len(self.gains)],
            time_stretch=self.time_stretch[number % len(self.time_stretch)],
        )
