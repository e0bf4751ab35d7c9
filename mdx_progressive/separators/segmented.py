"""Separators whose network takes segments: the mixture is cut, run in batches, and added up again."""

from abc import abstractmethod

import torch
from torch import Tensor, nn

from mdx_progressive.chunks import OverlapAdd, cut, segments, triangle
from mdx_progressive.errors import MdxError
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

    def _over_segments(self, network: nn.Module, segment: float, mixture: Tensor, wanted: Tensor) -> Tensor:
        """One network over all segments of all items.

        Args:
            network: Takes (segment, channel, time), gives (segment, source, channel, time) with every source.
            segment: Length of a segment in seconds.
            mixture: What the network is to hear.
            wanted: Positions within `sources`, for each item its own; on the CPU.

        Shape:
            - mixture: (item, channel, time)
            - wanted: (item, target)
            - result: (item, target, channel, time)
        """
        length = int(self.sample_rate * segment)
        whole = OverlapAdd((*wanted.shape, *mixture.shape[1:]), triangle(length, mixture.device, mixture.dtype))
        # A segment cut short by the end may need another input length than the full ones: they are batched apart.
        jobs: dict[int, list[tuple[int, int, int]]] = {}
        for item in range(len(mixture)):
            for start, samples in segments(mixture.shape[-1], length, self.overlap):
                jobs.setdefault(self._input_length(network, samples, length), []).append((item, start, samples))
        for inputs, places in jobs.items():
            for batch in self._batches(places, mixture.device):
                # A short segment stands in the middle of its input, amid what really surrounds it.
                margins = [(inputs - samples) // 2 for _, _, samples in batch]
                windows = [cut(mixture[item], start - margin, inputs)
                           for (item, start, _), margin in zip(batch, margins, strict=True)]  # fmt: skip
                estimates = network(torch.stack(windows))
                for estimate, (item, start, samples), margin in zip(estimates, batch, margins, strict=True):
                    whole.add(item, start, estimate[wanted[item], :, margin : margin + samples])
        return whole.result()

    @abstractmethod
    def _input_length(self, network: nn.Module, samples: int, segment: int) -> int:
        """Length of the input at which the network runs a segment that is cut to so many samples.

        Args:
            network: The network.
            samples: Length of this segment, at most `segment`.
            segment: Length of a full segment.
        """


def standardised(mixture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The `demucs` command's normalisation: mean 0 and deviation 1 of the mono mix, over its whole length.

    Returns:
        The normalised mixture, its former mean and its former deviation: `mixture = mean + deviation * result`.

    Shape:
        - mixture and result: (item, channel, time)
        - mean and deviation: (item, 1, 1)

    Example:
        >>> result, mean, deviation = standardised(torch.tensor([[[1.0, 3.0, 5.0]]]))
        >>> result[0, 0].tolist(), mean.item(), round(deviation.item(), 6)
        ([-1.0, 0.0, 1.0], 3.0, 2.0)
    """
    mono = mixture.mean(dim=1, keepdim=True)
    mean = mono.mean(dim=-1, keepdim=True)
    deviation = mono.std(dim=-1, keepdim=True, correction=min(1, mono.shape[-1] - 1)) + 1e-8
    return (mixture - mean) / deviation, mean, deviation
