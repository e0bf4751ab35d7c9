"""Song streams: a song's mixture from beginning to end, with only the part being read in memory."""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from mdx_progressive.audio import Signal, resample_stream, resampled_length, sum_streams
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import MixtureChoice, mixture_and_stems
from mdx_progressive.runtime import MdxError

_PIECE = 1 << 18
"""Samples that `pieces` yields at a time."""


class SongStream:
    """The mixture of a song at the separator's sample rate: its file, or the sum of its stems.

    Args:
        song: The song.
        sample_rate: The separator's sample rate in Hz.
        mixture: As for `ReadingOptions`.

    Raises:
        MdxError: If the song can't be read at all, or has neither a mixture nor stems. All methods raise it if a file
            can't be read.
    """

    def __init__(self, song: Song, sample_rate: int, mixture: MixtureChoice) -> None:
        self.song = song
        self.sample_rate = sample_rate
        shipped, stems = mixture_and_stems(song, mixture)
        self._signals: list[Signal] = [shipped] if shipped else list(stems.values())
        self._headers = [signal.header() for signal in self._signals]
        self.channels = max(header.channels for header in self._headers)
        """Channels of the mixture."""
        # Resampled, a sample depends in its last digits on where the filter began.
        same_rate = all(header.sample_rate == sample_rate for header in self._headers)
        self._seekable = same_rate and all(signal.seekable() for signal in self._signals)
        self._pieces: Iterator[Tensor]
        self._begin: int
        self._buffer: Tensor
        self._restart(0)

    @property
    def native_size(self) -> tuple[int, int]:
        """Sample rate in Hz and length of the mixture file or first stem; files may have to be decoded for it."""
        return self._headers[0].sample_rate, self._lengths[0]

    @cached_property
    def length(self) -> int:
        """Samples at the separator's sample rate; files may have to be decoded to be counted."""
        sizes = zip(self._lengths, self._headers, strict=True)
        return max(resampled_length(length, header.sample_rate, self.sample_rate) for length, header in sizes)

    @cached_property
    def _lengths(self) -> list[int]:
        return [signal.length() for signal in self._signals]

    def layout(self) -> tuple[str, ...] | None:
        """FFmpeg's names of the channels, in their order; None for mono and stereo, and where no file tells them."""
        if self.channels <= 2:
            return None
        widest = self._signals[[header.channels for header in self._headers].index(self.channels)]
        layout = widest.streams[0].layout()
        return layout if layout and len(layout) == self.channels else None

    def read(self, start: int, stop: int) -> Tensor:
        """The samples from `start` to `stop`.

        Going on is cheap, and so is a jump if nothing is resampled and all files are seekable. Else all in between is
        decoded, and a jump back starts from the beginning of the song.

        Shape:
            - result: (channel, stop - start)
        """
        if self._seekable and not self._begin <= start <= self._begin + self._buffer.shape[-1]:
            self._restart(start)
        elif start < self._begin:
            self._restart(0)
        pieces = [self._buffer]
        end = self._begin + self._buffer.shape[-1]
        while end < stop:
            piece = next(self._pieces, None)
            if piece is None:
                raise MdxError(f"{self.song.path}: ends before it did when it was opened")
            if end <= start:  # Nothing of what came before is wanted.
                pieces, self._begin = [], end
            pieces.append(piece)
            end += piece.shape[-1]
        self._buffer = torch.cat(pieces, dim=-1)[:, start - self._begin :]
        self._begin = start
        return self._buffer[:, : stop - start].clone()

    def pieces(self) -> Iterator[Tensor]:
        """All samples, in consecutive pieces (channel, time); `read` begins anew after it."""
        for start in range(0, self.length, _PIECE):
            yield self.read(start, min(start + _PIECE, self.length))

    def _restart(self, start: int) -> None:
        signals = [
            resample_stream(signal.pieces(start), header.sample_rate, self.sample_rate)
            for signal, header in zip(self._signals, self._headers, strict=True)
        ]
        self._pieces = sum_streams(signals, self.channels)
        self._begin = start
        self._buffer = torch.zeros(self.channels, 0)
