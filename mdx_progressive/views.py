"""Views of a mixture: changes that the sources share, so that a separator which hears them can be undone exactly.

To a perfect separator all views are one; a trained one errs differently on each. The mean of the estimates over
`K` views lies closer to the sources than a view by itself: `|mean|^2 = mean |x_k|^2 - mean |x_k - mean|^2` for the
errors, whatever the reference is.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from mdx_progressive.errors import MdxError


def golden(number: int) -> float:
    """The fractional part of so many golden ratios, the sequence whose beginnings all cover [0, 1) evenly.

    Example:
        >>> [round(golden(number), 2) for number in range(4)]
        [0.0, 0.62, 0.24, 0.85]
    """
    return math.fmod(number * (math.sqrt(5) - 1) / 2, 1)


@dataclass(frozen=True)
class View:
    """One change of the mixture, and its inverse.

    Args:
        shift: Seconds by which the separator's segments and frames begin before the music: each sample is then
            heard within other real surroundings.
        flip: Whether the polarity is reversed.
        swap: Whether left and right change places.
        width: Gain of the side (left minus right), above 0; the middle stays.
        gain: Level at which the separator hears it, a factor above 0.
        slower: How many times slower, and lower, it is played: resampled to so many times the samples, 1 or more,
            to the hundredth. Nothing is lost of it; a faster one would lose its highest octaves. A network that
            knows tuned music only hears it as well a semitone lower (1.0595) as where it is, and worse in between.

    Raises:
        MdxError: If `shift` is negative, `width` or `gain` is not above 0, or `slower` is below 1.
    """

    shift: float = 0.0
    flip: bool = False
    swap: bool = False
    width: float = 1.0
    gain: float = 1.0
    slower: float = 1.0

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise MdxError(f"the shift of a view must be 0 or more, not {self.shift}")
        if not (self.gain > 0 and self.width > 0):
            raise MdxError(f"gain and width of a view must be above 0, not {self.gain} and {self.width}")
        if not self.slower >= 1:
            raise MdxError(f"a view can't be played faster, only slower (1 or more), not {self.slower}")

    def of(self, mixtures: Tensor, sample_rate: int) -> Tensor:
        """What the separator is to hear.

        Shape:
            - mixtures: (..., channel, time)
            - result: (..., channel, samples of the shift + at least time * slower)

        Example:
            >>> import torch
            >>> View(shift=1, flip=True, swap=True, gain=2).of(torch.tensor([[1.0], [3.0]]), sample_rate=1).tolist()
            [[-0.0, -6.0], [-0.0, -2.0]]
        """
        heard = self._widened(mixtures.flip(-2) if self.swap else mixtures, self.width)
        if self.slower != 1:
            padded, played = _lengths(self.slower, heard.shape[-1])
            heard = _resampled(functional.pad(heard, (0, padded - heard.shape[-1])), played)
        heard = functional.pad(heard, (self._samples(sample_rate), 0))
        factor = self._factor
        return heard if factor == 1 else factor * heard

    def undo(self, estimates: Tensor, sample_rate: int, time: int) -> Tensor:
        """The estimates as of the mixture itself.

        Args:
            estimates: Estimates of what `of` made.
            sample_rate: Sample rate in Hz.
            time: Samples that the mixture has.

        Shape:
            - estimates: (..., channel, samples of the shift + at least time * slower)
            - result: (..., channel, time)
        """
        seen = estimates[..., self._samples(sample_rate) :]
        if self.slower != 1:
            seen = _resampled(seen, _lengths(self.slower, time)[0])[..., :time]
        seen = self._widened(seen, 1 / self.width)
        seen = seen.flip(-2) if self.swap else seen
        factor = self._factor
        return seen if factor == 1 else seen / factor

    def slowed(self, ratio: float) -> "View":
        """The view played yet so many times slower."""
        return self if ratio == 1 else replace(self, slower=ratio * self.slower)

    @staticmethod
    def _widened(signal: Tensor, width: float) -> Tensor:
        if width == 1:
            return signal
        middle = signal.mean(dim=-2, keepdim=True)
        return middle + width * (signal - middle)

    def _samples(self, sample_rate: int) -> int:
        return round(self.shift * sample_rate)

    @property
    def _factor(self) -> float:
        return -self.gain if self.flip else self.gain


def _lengths(slower: float, time: int) -> tuple[int, int]:
    """Samples to which a signal is padded, and those that it is played in: so many that their FFTs are fast.

    Both are small multiples of a power of two, at most a sixtieth longer than need be. A song of any other length may
    have to be transformed as one large prime, which takes ten times as long.

    Example:
        >>> _lengths(1.03, 10_583_999)
        (10649600, 10969088)
    """
    ratio = Fraction(slower).limit_denominator(100)
    times = -(-time // ratio.denominator)
    grid = 1 << max(0, times.bit_length() - 7)
    times = -(-times // grid) * grid
    return times * ratio.denominator, times * ratio.numerator


def _resampled(signal: Tensor, time: int) -> Tensor:
    """The signal in another number of samples, by its spectrum: exact there and back, if there is the longer one."""
    spectrum = torch.fft.rfft(signal)[..., : time // 2 + 1]
    resampled: Tensor = torch.fft.irfft(spectrum, n=time) * (time / signal.shape[-1])
    return resampled


PLAIN = View()
"""The mixture as it is."""


class Views(ABC):
    """Which views are taken at each step."""

    @abstractmethod
    def at(self, step: int) -> Sequence[View]:
        """The views of a step, one or more. The first of step 0 is always `PLAIN`, the one pass that all share."""


class OneView(Views):
    """The mixture as it is, at every step."""

    def at(self, step: int) -> Sequence[View]:
        return (PLAIN,)


class Rotation(Views):
    """Every pass of the run gets a view of its own: shifts spread evenly over a span, polarity and channels in turn.

    The shift of pass `k` is `span` times the fractional part of `k` golden ratios, the sequence whose beginnings
    all cover the span evenly. Every second pass has its polarity reversed, every second pair its channels swapped.

    Args:
        first: Views of step 0, on the mixture itself.
        each: Views of every later step.
        span: Seconds over which the shifts are spread; about the stride of the separator's segments.
        flip: Whether polarity takes part.
        swap: Whether the channels take part.
        widths: Gains of the side that the passes take in turn, the first of them 1.
        levels: Gains that the passes take in turn, the first of them 1; for separators that are not scale-free.
        slower: How many times slower the passes are played in turn, the first of them 1.

    Raises:
        MdxError: If a number is out of its range.

    Example:
        >>> [(round(view.shift, 2), view.flip, view.swap) for view in Rotation(first=3, span=10).at(0)]
        [(0.0, False, False), (6.18, True, False), (2.36, False, True)]
    """

    def __init__(
        self,
        first: int = 1,
        each: int = 1,
        span: float = 5.85,
        flip: bool = True,
        swap: bool = True,
        widths: Sequence[float] = (1.0,),
        levels: Sequence[float] = (1.0,),
        slower: Sequence[float] = (1.0,),
    ) -> None:
        if first < 1 or each < 1:
            raise MdxError(f"a step has at least one view, not {min(first, each)}")
        if span < 0:
            raise MdxError(f"the span of the shifts must be 0 or more, not {span}")
        for name, gains in (("levels", levels), ("widths", widths), ("slower", slower)):
            if not gains or gains[0] != 1 or not min(gains) > 0:
                raise MdxError(
                    f"{name} of the views must be above 0 and begin with 1, the plain pass, not {list(gains)}"
                )
        self.first, self.each, self.span = first, each, span
        self.flip, self.swap, self.widths, self.levels, self.slower = flip, swap, widths, levels, slower

    def at(self, step: int) -> Sequence[View]:
        begin = 0 if step == 0 else self.first + (step - 1) * self.each
        return [self._view(number) for number in range(begin, begin + (self.first if step == 0 else self.each))]

    def _view(self, number: int) -> View:
        return View(
            shift=self.span * golden(number),
            flip=self.flip and number % 2 == 1,
            swap=self.swap and number // 2 % 2 == 1,
            width=self.widths[number % len(self.widths)],
            gain=self.levels[number % len(self.levels)],
            slower=self.slower[number % len(self.slower)],
        )
