"""Cutting a long signal into overlapping segments and adding them up again: pure tensor functions."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional


def segment_spans(length: int, segment: int, overlap: float) -> Iterator[tuple[int, int]]:
    """Where segments start and how long they are, in samples; only those at the end are cut short.

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
    """Samples from the start of a segment to that of the next.

    Args:
        segment: Length of a segment.
        overlap: Fraction of a segment that the next one covers too, within [0, 1).
    """
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

    Shape:
        - result: (length,)

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
        shape: Shape of the whole, (item, ..., time).
        window: Weight of each sample of a segment, above 0; a shorter segment uses its beginning.

    Example:
        >>> signal, whole = torch.arange(10.0)[None], OverlapAdd((1, 10), triangular_window(4))
        >>> for start, length in segment_spans(10, segment=4, overlap=0.25):
        ...     whole.add(0, start, padded_slice(signal[0], start, length))
        >>> torch.allclose(whole.result(), signal)
        True
    """

    def __init__(self, shape: tuple[int, ...], window: Tensor) -> None:
        self.window = window
        self.total = window.new_zeros(shape)
        self.weight = window.new_zeros(shape[0], shape[-1])

    def add(self, item: int, start: int, segment: Tensor) -> None:
        """Add one segment (..., time) of the given item at a position in samples."""
        length = segment.shape[-1]
        self.total[item, ..., start : start + length] += self.window[:length] * segment
        self.weight[item, start : start + length] += self.window[:length]

    def result(self) -> Tensor:
        """The whole; every sample must have been covered."""
        items, *middle, time = self.total.shape
        return self.total / self.weight.view(items, *[1] * len(middle), time)
