"""Separators whose network takes segments: the mixture is cut, run in batches, and added up again."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mdx_progressive.dsp import OverlapAdd, ReceptiveField, padded_slice, segment_spans, stride, triangular_window
from mdx_progressive.runtime import MdxError
from mdx_progressive.separators.base import Separator


class SegmentedSeparator(Separator):
    """A separator that cuts a long mixture into overlapping segments, as `demucs.apply.apply_model` does.

    A subclass sets `overlap` before it calls `freeze`.
    """

    overlap: float
    """Fraction of a segment that the next one covers too, within [0, 1)."""

    def freeze(self) -> None:
        if not 0 <= self.overlap < 1:
            raise MdxError(f"overlap must lie within [0, 1), not {self.overlap}")
        super().freeze()

    @property
    def receptive_field(self) -> ReceptiveField:
        """All segments that cover a sample, none of them cut short by the end of a block."""
        lengths = self._segment_lengths()
        if not lengths:
            return super().receptive_field
        strides = [stride(length, self.overlap) for length in lengths]
        before = max(length - step for length, step in zip(lengths, strides, strict=True))
        return ReceptiveField(math.lcm(*strides), before, self.crossfade, after=max(lengths))

    @property
    def shift_span(self) -> float:
        """The stride of segments in seconds, of several networks the longest."""
        strides = [stride(length, self.overlap) for length in self._segment_lengths()]
        return max(strides) / self.sample_rate if strides else super().shift_span

    @abstractmethod
    def _segment_lengths(self) -> list[int]:
        """Samples of a segment of each network; none where it takes the whole mixture at once."""

    @abstractmethod
    def _input_length(self, network: nn.Module, samples: int, segment: int) -> int:
        """Samples of the network's input for a segment of `samples` samples, which is `segment` unless cut short."""

    def _separate_segments(self, network: nn.Module, length: int, mixture: Tensor, indices: Tensor) -> Tensor:
        """Run one network over all segments, of `length` samples, of all items; the rest is as of `_separate`.

        Shape:
            - network: from (segment, channel, time) to (segment, source, channel, time), with every source
        """
        # A segment cut short by the end may need another input length than the others: they are batched apart.
        jobs: dict[int, list[tuple[int, int, int]]] = {}
        for item in range(len(mixture)):
            for start, samples in segment_spans(mixture.shape[-1], length, self.overlap):
                jobs.setdefault(self._input_length(network, samples, length), []).append((item, start, samples))
        total = OverlapAdd(mixture, indices.shape[1], mixture.shape[1])
        window = triangular_window(length, mixture.device, mixture.dtype)
        for input_length, spans in jobs.items():

            def estimate(batch: Sequence[tuple[int, int, int]], input_length: int = input_length) -> Tensor:
                # A short segment is in the middle of its input, between its context in the mixture.
                inputs = [
                    padded_slice(mixture[item], start - (input_length - samples) // 2, input_length)
                    for item, start, samples in batch
                ]
                estimates: Tensor = network(torch.stack(inputs))
                return estimates

            for batch, estimates in self._run_batches(spans, mixture.device, estimate):
                for sources, (item, start, samples) in zip(estimates, batch, strict=True):
                    first = (input_length - samples) // 2
                    total.add(item, start, sources[indices[item], :, first : first + samples], window)
        return total.result()
