"""Separators whose network takes segments: the mixture is cut, run in batches, and added up again."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mdx_progressive.dsp import OverlapAdd, ReceptiveField, padded_slice, segment_spans, stride, triangular_window
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.base import Separator


class SegmentedSeparator(Separator):
    """A separator that reads a long mixture through overlapping segments, as `demucs.apply.apply_model` does.

    A subclass sets `overlap`, a fraction of a segment within [0, 1), before it calls `freeze`.
    """

    overlap: float

    def freeze(self) -> None:
        """To be called at the end of a subclass's `__init__`.

        Raises:
            MdxError: If `overlap` or `batch_size` is out of its range.
        """
        if not 0 <= self.overlap < 1:
            raise MdxError(f"overlap must lie within [0, 1), not {self.overlap}")
        super().freeze()

    @property
    def receptive_field(self) -> ReceptiveField:
        """A sample is heard by all segments that cover it, and none of them may be cut short by the end of a block."""
        lengths = self._lengths()
        if not lengths:
            return super().receptive_field
        strides = [stride(length, self.overlap) for length in lengths]
        before = max(length - each for length, each in zip(lengths, strides, strict=True))
        return ReceptiveField(math.lcm(*strides), before, self.crossfade, after=max(lengths))

    @abstractmethod
    def _lengths(self) -> list[int]:
        """Samples of a segment of each network; none where it hears the whole at once."""

    def _over_segments(self, network: nn.Module, length: int, mixture: Tensor, wanted: Tensor) -> Tensor:
        """One network over all segments of all items.

        Args:
            network: Takes (segment, channel, time), gives (segment, source, channel, time) with every source.
            length: Samples of a segment.
            mixture: What the network is to hear.
            wanted: Positions within `sources`, for each item its own; on the CPU.

        Shape:
            - mixture: (item, channel, time)
            - wanted: (item, target)
            - result: (item, target, channel, time)
        """
        whole = OverlapAdd(
            (*wanted.shape, *mixture.shape[1:]), triangular_window(length, mixture.device, mixture.dtype)
        )
        # A segment cut short by the end may need another input length than the full ones: they are batched apart.
        jobs: dict[int, list[tuple[int, int, int]]] = {}
        for item in range(len(mixture)):
            for start, samples in segment_spans(mixture.shape[-1], length, self.overlap):
                jobs.setdefault(self._input_length(network, samples, length), []).append((item, start, samples))

        def margin(samples: int) -> int:
            # A short segment stands in the middle of its input, amid what really surrounds it.
            return (self._input_length(network, samples, length) - samples) // 2

        def estimated(batch: Sequence[tuple[int, int, int]]) -> Tensor:
            windows = [
                padded_slice(mixture[item], start - margin(samples), self._input_length(network, samples, length))
                for item, start, samples in batch
            ]
            estimates: Tensor = network(torch.stack(windows))
            return estimates

        for places in jobs.values():
            for batch, estimates in self._batches(places, mixture.device, estimated):
                for estimate, (item, start, samples) in zip(estimates, batch, strict=True):
                    first = margin(samples)
                    whole.add(item, start, estimate[wanted[item], :, first : first + samples])
        return whole.result()

    @abstractmethod
    def _input_length(self, network: nn.Module, samples: int, segment: int) -> int:
        """Length of the input at which the network runs a segment that is cut to so many samples.

        Args:
            network: The network.
            samples: Length of this segment, at most `segment`.
            segment: Length of a full segment.
        """


def on_standardised(separate: Callable[[Tensor], Tensor], mixture: Tensor) -> Tensor:
    """Separate a mixture normalised as by the `demucs` command, and undo that in the estimates.

    The command gives the mono mix mean 0 and deviation 1, over its whole length.

    Args:
        separate: Maps (item, channel, time) to (item, target, channel, time).
        mixture: The mixture.

    Shape:
        - mixture: (item, channel, time)
        - result: (item, target, channel, time)

    Example:
        >>> heard = []
        >>> result = on_standardised(lambda x: heard.append(x) or x[:, None], torch.tensor([[[1.0, 3.0, 5.0]]]))
        >>> heard[0][0, 0].tolist(), result[0, 0, 0].tolist()
        ([-1.0, 0.0, 1.0], [1.0, 3.0, 5.0])
    """
    mono = mixture.mean(dim=1, keepdim=True)
    mean = mono.mean(dim=-1, keepdim=True)
    deviation = mono.std(dim=-1, keepdim=True, correction=min(1, mono.shape[-1] - 1)) + 1e-8
    estimates = separate((mixture - mean) / deviation)
    return estimates * deviation.unsqueeze(1) + mean.unsqueeze(1)
