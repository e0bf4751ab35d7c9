"""A song's mixture read from its beginning to its end, of which only a stretch is in memory."""

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from mdx_progressive.audio import Signal, SignalSize, resample_stream, resampled_length, sum_streams
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import MixtureChoice, mixture_and_stems
from mdx_progressive.runtime import MdxError


class SongStream:
    """The mixture of a song at the separator's sample rate: its file, or the sum of its stems.

    Args:
        song: The song.
        sample_rate: The separator's sample rate in Hz.
        mixture: As `reading.load` has it.

    Raises:
        MdxError: If the song can't be read at all, or has neither a mixture nor stems.
    """

    def __init__(self, song: Song, sample_rate: int, mixture: MixtureChoice) -> None:
        self.song = song
        self.sample_rate = sample_rate
        shipped, stems = mixture_and_stems(song, mixture)
        self._signals: list[Signal] = [shipped] if shipped else list(stems.values())
        self._shapes = [signal.shape() for signal in self._signals]
        self.channels = max(shape.channels for shape in self._shapes)
        """Channels of the mixture."""
        # Resampled, a sample depends in its last digits on where the filter began.
        same = all(shape.sample_rate == sample_rate for shape in self._shapes)
        self._seekable = same and all(signal.seekable() for signal in self._signals)
        self._pieces: Iterator[Tensor]
        self._begin: int
        self._held: Tensor
        self._restart(0)

    @property
    def own(self) -> SignalSize:
        """How much there is of the song at its own sample rate; as for `length`, files may have to be decoded for it.

        Raises:
            MdxError: If a file can't be read.
        """
        return self._extents[0]

    @cached_property
    def length(self) -> int:
        """Samples at the separator's sample rate.

        Raises:
            MdxError: If a file can't be read.
        """
        return max(resampled_length(each.length, each.sample_rate, self.sample_rate) for each in self._extents)

    @cached_property
    def _extents(self) -> list[SignalSize]:
        return [signal.extent() for signal in self._signals]

    def layout(self) -> tuple[str, ...] | None:
        """FFmpeg's names of its channels, in their order; None for mono and stereo, and where no file tells them.

        Raises:
            MdxError: If a file can't be read.
        """
        if self.channels <= 2:
            return None
        widest = self._signals[[shape.channels for shape in self._shapes].index(self.channels)]
        layout = widest.streams[0].layout()
        return layout if layout and len(layout) == self.channels else None

    def stretch(self, start: int, stop: int) -> Tensor:
        """The samples from `start` to `stop`.

        Going on is cheap, and so is going elsewhere if nothing is resampled and all files are seekable. Else what lies
        between is decoded, and going back begins anew.

        Shape:
            - result: (channel, stop - start)

        Raises:
            MdxError: If the song can't be read up to there.
        """
        if self._seekable and not self._begin <= start <= self._begin + self._held.shape[-1]:
            self._restart(start)
        elif start < self._begin:
            self._restart(0)
        held: list[Tensor] = [self._held]
        end = self._begin + self._held.shape[-1]
        while end < stop:
            piece = next(self._pieces, None)
            if piece is None:
                raise MdxError(f"{self.song.place}: ends before it did when it was opened")
            if end <= start:  # Nothing of what came before is wanted.
                held, self._begin = [], end
            held.append(piece)
            end += piece.shape[-1]
        self._held = torch.cat(held, dim=-1)[:, start - self._begin :]
        self._begin = start
        return self._held[:, : stop - start].clone()

    def _restart(self, start: int) -> None:
        self._pieces = self._from(start)
        self._begin = start
        self._held = torch.zeros(self.channels, 0)

    def _from(self, start: int) -> Iterator[Tensor]:
        signals = [
            resample_stream(signal.pieces(start), shape.sample_rate, self.sample_rate)
            for signal, shape in zip(self._signals, self._shapes, strict=True)
        ]
        return sum_streams(signals, self.channels)
