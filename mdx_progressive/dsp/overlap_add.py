"""Segments: a long signal is cut into overlapping ones, which are added up again under windows."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional


def segment_spans(length: int, segment: int, overlap: float) -> Iterator[tuple[int, int]]:
    """Start and length of each segment in samples; only those at the end are shorter.

    Args:
        length: Length of the signal.
        segment: Length of a segment.
        overlap: Fraction of a segment that the next one covers too, within [0, 1).

    Example:
        >>> list(segment_spans(10, segment=4, overlap=0.25))
        [(0, 4), (3, 4), (6, 4), (9, 1)]
    """
    for start in range(0, length, stride(segment, overlap)):
        yield start, min(segment, length - start)


def stride(segment: int, overlap: float) -> int:
    """Samples from the start of a segment to that of the next."""
    return max(1, int((1 - overlap) * segment))


def padded_slice(signal: Tensor, start: int, length: int) -> Tensor:
    """`length` samples from `start` on, with zeros where that reaches beyond the signal.

    Shape:
        - signal: (..., time)
        - result: (..., length)

    Example:
        >>> padded_slice(torch.tensor([1, 2, 3]), -1, 3).tolist(), padded_slice(torch.tensor([1, 2, 3]), 2, 2).tolist()
        ([0, 1, 2], [3, 0])
    """
    total = signal.shape[-1]
    left, right = min(length, max(0, -start)), min(length, max(0, start + length - total))
    inside = signal[..., max(0, start) : max(0, min(total, start + length))]
    return functional.pad(inside, (left, right))


def triangular_window(length: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
    """Window that rises to 1 in the middle and is nowhere 0, as `demucs.apply` weights its segments.

    Example:
        >>> triangular_window(4).tolist(), triangular_window(3).tolist()
        ([0.5, 1.0, 1.0, 0.5], [0.5, 1.0, 0.5])
    """
    position = torch.arange(length, device=device, dtype=dtype)
    window = torch.minimum(position + 1, length - position)
    return window / window.amax()


class OverlapAdd:
    """Adds up windowed segments and divides by the sum of the windows that covered each sample.

    Args:
        signal: What the segments were cut from; the sum has its length, type and device.
        axes: The axes between those of items and time.

    Shape:
        - signal: (item, ..., time)

    Example:
        >>> signal = torch.arange(10.0)[None]
        >>> total = OverlapAdd(signal)
        >>> for start, length in segment_spans(10, segment=4, overlap=0.25):
        ...     total.add(0, start, padded_slice(signal[0], start, length), triangular_window(4))
        >>> torch.allclose(total.result(), signal)
        True
    """

    def __init__(self, signal: Tensor, *axes: int) -> None:
        items, time = len(signal), signal.shape[-1]
        self._total = signal.new_zeros(items, *axes, time)
        self._weight = signal.new_zeros(items, *[1] * len(axes), time)

    def add(self, item: int, start: int, segment: Tensor, window: Tensor) -> None:
        """Add a segment (..., time) of an item at a position; if it is shorter than the window, the window is cut."""
        length = segment.shape[-1]
        self._total[item, ..., start : start + length] += window[:length] * segment
        self._weight[item, ..., start : start + length] += window[:length]

    def result(self) -> Tensor:
        """The sum (item, *axes, time); 0 where no window reaches."""
        return (self._total / self._weight).masked_fill_(self._weight == 0, 0)
