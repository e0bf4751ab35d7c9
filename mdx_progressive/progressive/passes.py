"""The frozen separator as a method sees it: bound to a mixture, applied to augmented inputs, its passes counted."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from mdx_progressive.dsp import concert_pitch_ratio, mono_levels, without_mean
from mdx_progressive.progressive.augmentations import IDENTITY, Augmentation
from mdx_progressive.progressive.remix import limit_peak

Separate = Callable[..., Tensor]
"""Inputs (batch, input, channel, time) to estimates (batch, source, channel, time): all sources from a single input,
each from its own, or as the keyword `input_index` says (see `Separator.forward`)."""


class FrozenSeparator(Protocol):
    """What a method needs of a separator (see `separators.Separator`)."""

    sample_rate: int
    standardise: bool

    @property
    def shift_span(self) -> float:
        """Seconds within which it matters where the music begins."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Estimates (batch, source, channel, time) of the inputs; the keyword `targets` names the sources,
        and `levels` tells by which mean and deviation it standardises.
        """


class Passes:
    """Applies a separator for a method, and counts what that costs.

    Args:
        separate: The separator, bound to the sources that the method tracks.
        mixture: The mixture of the chunks.
        sources: Names of those sources.
        sample_rate: Sample rate in Hz.
        levels: For a separator that standardises, mean and deviation of each song (see `dsp.mono_levels`): it divides
            all inputs by the deviation, which it gets as the keyword `levels` beside a mean of 0, and a method works on
            the mixture without the mean (see `centred`). Inputs have no level of their own, which one block of a song
            could not tell. None for other separators.
        span: Seconds over which shifts are spread where augmentations have no span of their own.
        targets: The sources that are wanted in the end, which the others only serve; all by default.

    Shape:
        - mixture: (batch, channel, time)
        - levels: (batch, 2)
    """

    def __init__(
        self,
        separate: Separate,
        mixture: Tensor,
        sources: Sequence[str],
        sample_rate: int,
        levels: Tensor | None = None,
        span: float = 0.0,
        targets: Sequence[str] | None = None,
    ) -> None:
        self._separate = separate
        self._mean: Tensor | None = None
        self._levels: Tensor | None = None
        """Those of the mixture without its mean."""
        if levels is not None:
            self._mean = levels[:, :1, None, None].to(mixture)
            mixture, self._levels = without_mean(mixture, levels)
        self.mixture = mixture
        self.sources = list(sources)
        self.sample_rate = sample_rate
        self.span = span
        self.targets = self.sources if targets is None else list(targets)
        self.count = 0
        """Network passes so far, each over the whole chunk: an input for each source makes as many."""
        self.listeners: list[Callable[[int], None]] = []
        """Called with the number of network passes after each call of the separator."""
        self._pitch_ratios = [1.0] * len(mixture)

    @classmethod
    def of(
        cls,
        separator: FrozenSeparator,
        mixture: Tensor,
        sources: Sequence[str],
        levels: Tensor | None = None,
        targets: Sequence[str] | None = None,
    ) -> Self:
        """The passes of a separator over a mixture (batch, channel, time), which estimate the named sources.

        Args:
            separator: The frozen separator.
            mixture: The mixture.
            sources: The sources.
            levels: Mean and deviation of each song of which the mixture is a part; by default it is the whole.
            targets: The sources that are wanted in the end; all by default.

        Shape:
            - mixture: (batch, channel, time)
            - levels: (batch, 2)
        """
        separate = partial(separator, targets=sources)
        if not separator.standardise:
            levels = None
        elif levels is None:
            levels = mono_levels(mixture)
        return cls(separate, mixture, sources, separator.sample_rate, levels, separator.shift_span, targets)

    def centred(self, estimates: Tensor) -> Tensor:
        """Estimates without the mean of the mixture, which a standardising separator has added to each of them.

        Sums and differences of estimates would have a multiple of it.

        Shape:
            - estimates and the result: (batch, source, channel, time)
        """
        return estimates if self._mean is None else estimates - self._mean

    def restored(self, estimates: Tensor) -> Tensor:
        """What `centred` undoes: estimates with the mean of the mixture again, as the separator itself gives them.

        Shape:
            - estimates and the result: (batch, source, channel, time)
        """
        return estimates if self._mean is None else estimates + self._mean

    def correct_pitch(self, tolerance: float) -> list[int]:
        """From now on, stretch chunks that are out of tune so that they are lowered to concert pitch.

        Args:
            tolerance: Deviation in cents up to which a chunk is left as it is.

        Returns:
            Indices of the chunks that are stretched.
        """
        self._pitch_ratios = [concert_pitch_ratio(chunk, self.sample_rate, tolerance) for chunk in self.mixture]
        return [index for index, ratio in enumerate(self._pitch_ratios) if ratio != 1]

    def separate(
        self,
        inputs: Tensor,
        augmentations: Sequence[Augmentation] = (IDENTITY,),
        after: Tensor | None = None,
        input_index: Sequence[int] | None = None,
    ) -> Tensor:
        """The estimates of the inputs through each augmentation; inputs above full scale are attenuated for it.

        Args:
            inputs: One for all sources, or one for each; several candidates for each chunk of the batch follow each
                other, (candidate * batch, ...).
            augmentations: How the inputs are changed; those of equal length go through the separator together.
            after: An earlier pass, which becomes the first of the result.
            input_index: For each source the index of its input, where some but not all sources share one.

        Shape:
            - inputs: (batch, input, channel, time)
            - after: (batch, source, channel, time)
            - result: (augmentation, batch, source, channel, time), of the inputs' type, but never below float32
        """
        candidates = len(inputs) // len(self.mixture)
        limited, gain = limit_peak(inputs, self.mixture.repeat(candidates, 1, 1))
        separate = self._separate
        if input_index is not None:
            separate, gain = partial(separate, input_index=input_index), gain[:, list(input_index)]
        offset = 0 if after is None else 1
        # One tensor from the beginning: a tensor for each pass would fragment the memory between the passes.
        shape = (offset + len(augmentations), len(inputs), len(self.sources), *inputs.shape[2:])
        estimates = limited.new_empty(shape, dtype=torch.promote_types(limited.dtype, torch.float32))
        if after is not None:
            estimates[0] = after
        lengths = [(each.shift, each.time_stretch) for each in augmentations]
        for length in dict.fromkeys(lengths):
            indices = [index for index, each in enumerate(lengths) if each == length]
            passes = self._separate_augmented(separate, [augmentations[index] for index in indices], limited)
            for index, estimate in zip(indices, passes, strict=True):
                torch.div(estimate, gain, out=estimates[offset + index])
            count = candidates * len(indices) * inputs.shape[1]
            self.count += count
            for listener in self.listeners:
                listener(count)
        return estimates

    def _separate_augmented(
        self, separate: Separate, augmentations: Sequence[Augmentation], inputs: Tensor
    ) -> Sequence[Tensor]:
        """The estimates through augmentations of one length; chunks with the same pitch correction go together."""
        ratios = self._pitch_ratios * (len(inputs) // len(self.mixture))
        groups = {ratio: [index for index, each in enumerate(ratios) if each == ratio] for ratio in ratios}
        if len(groups) == 1:
            separate = self._at_level(separate, range(len(inputs)), len(augmentations))
            return self._separate_stretched(separate, augmentations, inputs, ratios[0])
        estimates = [
            torch.stack(
                self._separate_stretched(
                    self._at_level(separate, indices, len(augmentations)), augmentations, inputs[indices], ratio
                )
            )
            for ratio, indices in groups.items()
        ]
        order = torch.tensor([index for indices in groups.values() for index in indices]).argsort()
        return torch.cat(estimates, dim=1)[:, order.to(inputs.device)].unbind()

    def _at_level(self, separate: Separate, indices: Sequence[int], repetitions: int) -> Separate:
        """The separator, told the levels of the songs of some of the inputs, which are repeated as often."""
        if self._levels is None:
            return separate
        chunks = [index % len(self.mixture) for index in indices]
        return partial(separate, levels=self._levels[chunks].repeat(repetitions, 1))

    def _separate_stretched(
        self, separate: Separate, augmentations: Sequence[Augmentation], inputs: Tensor, ratio: float
    ) -> list[Tensor]:
        stretched = [each.stretched(ratio) for each in augmentations]
        augmented = torch.cat([each.apply(inputs, self.sample_rate) for each in stretched])
        estimates = separate(augmented).chunk(len(stretched))
        time = inputs.shape[-1]
        return [
            each.invert(estimate, self.sample_rate, time) for each, estimate in zip(stretched, estimates, strict=True)
        ]


def select_sources(estimates: Tensor, sources: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """The estimates of the wanted sources, in their order; the same tensor if these are all of them.

    Args:
        estimates: The estimates.
        sources: Their sources.
        wanted: The sources to select.

    Shape:
        - estimates: (batch, source, channel, time)
        - result: (batch, wanted, channel, time)

    Example:
        >>> select_sources(torch.tensor([[[[1.0]], [[2.0]]]]), ["bass", "vocals"], ["vocals"]).tolist()
        [[[[2.0]]]]
    """
    if list(sources) == list(wanted):
        return estimates
    return estimates[:, [list(sources).index(source) for source in wanted]]
