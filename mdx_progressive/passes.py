"""The frozen separator as a method sees it: bound to a mixture, heard through views, its passes counted."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mdx_progressive.concert_pitch import slower_in_tune
from mdx_progressive.remix import limit_peak
from mdx_progressive.views import PLAIN, View

Separate = Callable[..., Tensor]
"""Mixtures (batch, input, channel, time) to estimates (batch, source, channel, time): every source out of the one
mixture, each out of the one that was made for it, or as the keyword `heard_in` tells (see `Separator.forward`)."""


class Passes:
    """Runs a separator for a method and counts what that costs.

    Args:
        separate: The separator, bound to the sources that the method follows.
        mixture: The mixture of the chunks.
        sources: Names of those sources.
        sample_rate: Sample rate in Hz.

    Shape:
        - mixture: (batch, channel, time)
    """

    def __init__(self, separate: Separate, mixture: Tensor, sources: Sequence[str], sample_rate: int) -> None:
        self._separate = separate
        self.mixture = mixture
        self.sources = list(sources)
        self.sample_rate = sample_rate
        self.count = 0
        """Passes so far, each over the whole chunk. One whose output serves all sources is one for each of them."""
        self.inputs = 0
        """How often the chunk, or a blend of it, went in so far: a pass with an input for each source is as many."""
        self.watchers: list[Callable[[int], None]] = []
        """Told how many passes were made after each call of the separator."""
        self._slower = [1.0] * len(mixture)

    def retune(self, tolerance: float) -> list[int]:
        """From now on play music that is out of tune so much slower, and lower, that it lies on concert pitch.

        Args:
            tolerance: Cents off up to which a chunk is left alone.

        Returns:
            The places of the chunks that are not left alone.
        """
        self._slower = [slower_in_tune(each, self.sample_rate, tolerance) for each in self.mixture]
        return [place for place, ratio in enumerate(self._slower) if ratio != 1]

    def over(
        self,
        inputs: Tensor,
        views: Sequence[View] = (PLAIN,),
        after: Tensor | None = None,
        heard_in: Sequence[int] | None = None,
    ) -> Tensor:
        """The estimates out of each view of the inputs, of which those above full scale are turned down.

        Args:
            inputs: One for all sources, or one for each; several for each chunk of the batch stand one after the
                other, (candidate * batch, ...).
            views: How they are heard; views of one length go through the separator together.
            after: A pass that was made before, and comes first in the result.
            heard_in: For each source the number of its input, where several but not all have one in common.

        Shape:
            - inputs: (batch, input, channel, time)
            - after: (batch, source, channel, time)
            - result: (view, batch, source, channel, time), of the inputs' type, but never below float32
        """
        copies = len(inputs) // len(self.mixture)
        limited, gain = limit_peak(inputs, self.mixture.repeat(copies, 1, 1))
        separate = self._separate
        if heard_in is not None:
            separate, gain = partial(separate, heard_in=heard_in), gain[:, list(heard_in)]
        before = 0 if after is None else 1
        # One tensor from the beginning: what outlives a pass would lie between what the next ones free.
        shape = (before + len(views), len(inputs), len(self.sources), *inputs.shape[2:])
        estimates = limited.new_empty(shape, dtype=torch.promote_types(limited.dtype, torch.float32))
        if after is not None:
            estimates[0] = after
        lengths = [(view.shift, view.slower) for view in views]
        for length in dict.fromkeys(lengths):
            alike = [number for number, each in enumerate(lengths) if each == length]
            of_length = self._through(separate, [views[number] for number in alike], limited)
            for number, seen in zip(alike, of_length, strict=True):
                torch.div(seen, gain, out=estimates[before + number])
            made = copies * len(alike)
            self.count += made
            self.inputs += made * inputs.shape[1]
            for watch in self.watchers:
                watch(made)
        return estimates

    def _through(self, separate: Separate, views: Sequence[View], inputs: Tensor) -> Sequence[Tensor]:
        """The estimates through each of some views of one length; chunks that are played alike go together."""
        slower = self._slower * (len(inputs) // len(self.mixture))
        alike = {ratio: [place for place, each in enumerate(slower) if each == ratio] for ratio in slower}
        if len(alike) == 1:
            return self._heard(separate, views, inputs, slower[0])
        seen = [torch.stack(self._heard(separate, views, inputs[places], ratio)) for ratio, places in alike.items()]
        order = torch.tensor([place for places in alike.values() for place in places]).argsort()
        return torch.cat(seen, dim=1)[:, order.to(inputs.device)].unbind()

    def _heard(self, separate: Separate, views: Sequence[View], inputs: Tensor, slower: float) -> list[Tensor]:
        slowed = [view.slowed(slower) for view in views]
        heard = torch.cat([view.of(inputs, self.sample_rate) for view in slowed])
        each = separate(heard).chunk(len(slowed))
        return [view.undo(seen, self.sample_rate, inputs.shape[-1]) for view, seen in zip(slowed, each, strict=True)]


def pick(estimates: Tensor, sources: Sequence[str], wanted: Sequence[str]) -> Tensor:
    """The estimates of the wanted sources, in their order; the very same tensor where that is all of them.

    Args:
        estimates: The estimates.
        sources: What they are of.
        wanted: What is wanted of it.

    Shape:
        - estimates: (batch, source, channel, time)
        - result: (batch, wanted, channel, time)

    Example:
        >>> pick(torch.tensor([[[[1.0]], [[2.0]]]]), ["bass", "vocals"], ["vocals"]).tolist()
        [[[[2.0]]]]
    """
    if list(sources) == list(wanted):
        return estimates
    return estimates[:, [list(sources).index(source) for source in wanted]]
