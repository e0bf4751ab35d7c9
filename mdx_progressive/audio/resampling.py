"""Resampling, summing and padding: of whole waveforms, and of streams of pieces, which bound the memory."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mdx_progressive.runtime import MdxError


def resample_stream(pieces: Iterable[Tensor], before: int, after: int) -> Iterator[Tensor]:
    """Change the sample rate with soxr's very-high-quality filter.

    The result is the same to the last bit, however the signal is cut into pieces.

    Args:
        pieces: Consecutive pieces of a waveform, on the CPU, float32.
        before: Their sample rate in Hz.
        after: The wanted sample rate in Hz.

    Shape:
        - pieces and results: (channel, time), resampled_length(time, before, after) samples in all
    """
    if before == after:
        yield from pieces
        return
    stream, channels, consumed, produced = None, 0, 0, 0
    for piece in pieces:
        if stream is None:
            channels = len(piece)
            stream = soxr.ResampleStream(before, after, channels, dtype="float32", quality="VHQ")
        resampled = _channels_first(stream.resample_chunk(np.ascontiguousarray(piece.T.numpy())))
        consumed, produced = consumed + piece.shape[-1], produced + resampled.shape[-1]
        yield resampled
    if stream is not None:
        rest = _channels_first(stream.resample_chunk(np.zeros((0, channels), np.float32), last=True))
        # Where the length ends in half a sample, soxr rounds it now up, now down.
        yield functional.pad(rest, (0, resampled_length(consumed, before, after) - produced - rest.shape[-1]))


def resampled_length(length: int, before: int, after: int) -> int:
    """Samples of a signal after resampling, to the nearest.

    Example:
        >>> resampled_length(5, before=2, after=1)
        3
    """
    return (2 * length * after + before) // (2 * before)


def _channels_first(samples: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples.T))


def sum_streams(signals: Sequence[Iterable[Tensor]], channels: int) -> Iterator[Tensor]:
    """The sum of several signals, each cut into pieces of its own; the shorter ones are padded with silence.

    Args:
        signals: Consecutive pieces of each signal; a mono signal goes to all channels.
        channels: Channels of the sum.

    Shape:
        - pieces: (1 or channel, time)
        - results: (channel, time)

    Raises:
        MdxError: If a signal has another number of channels.

    Example:
        >>> one, other = [torch.ones(1, 2), torch.ones(1, 2)], [torch.ones(1, 1)]
        >>> [piece.tolist() for piece in sum_streams([one, other], channels=1)]
        [[[2.0]], [[1.0]], [[1.0, 1.0]]]
    """
    sources = [iter(signal) for signal in signals]
    heads = [torch.zeros(channels, 0) for _ in sources]
    while True:
        for number, source in enumerate(sources):
            while heads[number].shape[-1] == 0 and (piece := next(source, None)) is not None:
                if len(piece) not in (1, channels):
                    raise MdxError(f"stems of {len(piece)} and of {channels} channels can't be summed")
                heads[number] = piece.expand(channels, -1)
        lengths = [head.shape[-1] for head in heads if head.shape[-1]]
        if not lengths:
            return
        length = min(lengths)
        parts = [functional.pad(head[:, :length], (0, length - min(length, head.shape[-1]))) for head in heads]
        yield torch.stack(parts).sum(dim=0)
        heads = [head[:, length:] for head in heads]


def zero_pad_together(signals: Sequence[Tensor]) -> list[Tensor]:
    """Signals of equal length and number of channels: padded with silence at the end, mono in all channels.

    Shape:
        - signals: each (channel, time)
        - result: each (most channels, longest time)
    """
    channels = max(signal.shape[0] for signal in signals)
    time = max(signal.shape[-1] for signal in signals)
    return [functional.pad(signal, (0, time - signal.shape[-1])).expand(channels, -1) for signal in signals]


def resample(waveform: Tensor, before: int, after: int) -> Tensor:
    """Change the sample rate in Hz of a whole waveform (channel, time) on the CPU, as `resample_stream` does."""
    return waveform if before == after else torch.cat(list(resample_stream([waveform], before, after)), dim=-1)
