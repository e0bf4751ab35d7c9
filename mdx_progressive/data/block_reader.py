"""Blocks of songs for `predict`: no more of a song is in memory than one block needs."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from mdx_progressive.data.batch import ChunkBatch, Origin
from mdx_progressive.data.channel_pairs import ChannelPairs
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import ReadingOptions
from mdx_progressive.data.song_stream import SongStream
from mdx_progressive.dsp import MonoLevelMeter
from mdx_progressive.runtime import MdxError


class SongBlock(NamedTuple):
    """A block within a song."""

    song: Song
    origin: Origin

    @property
    def chunk(self) -> int:
        """Number of the block."""
        return self.origin.chunk


@dataclass
class BlockReader:
    """Plans and reads the blocks of songs; those of a song are read one after the other.

    Args:
        options: How they are read.
    """

    options: ReadingOptions
    _stream: SongStream | None = field(default=None, init=False)
    _measured: tuple[Tensor, Tensor | None] = field(default=(torch.ones(0), None), init=False)
    """Gain and levels of the song of the stream."""
    _errors: dict[str, str] = field(default_factory=dict, init=False)

    def plan(self, song: Song) -> list[SongBlock]:
        """The blocks of a song.

        Raises:
            MdxError: If it can't be read.
        """
        stream = SongStream(song, self.options.sample_rate, self.options.mixture)
        blocks = self.options.blocks(stream.length)
        (rate, length), layout = stream.native_size, stream.layout()
        pairs = ChannelPairs.for_layout(stream.channels, layout)
        return [
            SongBlock(song, Origin(song.name, block.number, rate, length, block, len(blocks), pairs, layout))
            for block in blocks
        ]

    def __call__(self, span: SongBlock) -> ChunkBatch:
        """A batch of one block, with an item for each of its pairs of channels.

        Raises:
            MdxError: If the song can't be read up to there.
        """
        song, block = span.song, span.origin.block
        assert block is not None
        try:
            # What could not be read once would only be read again in vain, for each of the blocks that follow.
            if song.name in self._errors:
                raise MdxError(self._errors[song.name])
            if self._stream is None or self._stream.song is not song:
                self._stream = None  # Two songs at once would take twice the memory.
                self._stream = SongStream(song, self.options.sample_rate, self.options.mixture)
                self._measured = self._measure(self._stream, span.origin)
            gain, levels = self._measured
            mixture = self._stream.read(block.start, block.stop)
            song.check()
        except (MdxError, OSError) as error:
            self._errors[song.name] = str(error)
            raise
        items = span.origin.pairs.split(mixture)
        return ChunkBatch([span.origin] * len(items), gain[:, None, None] * items, gain, levels=levels)

    def _measure(self, stream: SongStream, origin: Origin) -> tuple[Tensor, Tensor | None]:
        """Gain and levels (item, 2), after it, of the whole song: a block alone does not tell them.

        Raises:
            MdxError: If the song can't be read to its end.
        """
        pairs = origin.pairs
        if self.options.normalisation is None:
            gain = torch.ones(len(pairs.groups))
        else:
            items = range(len(pairs.groups))
            gain = torch.tensor([self.options.gain(pairs.split(it)[item] for it in stream.pieces()) for item in items])
        if not self.options.standardise or origin.blocks == 1:
            return gain, None
        meter = MonoLevelMeter(len(pairs.groups))
        for piece in stream.pieces():
            meter.add(pairs.split(piece))
        return gain, gain[:, None] * meter.levels()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_stream": None}  # A half-read song is not sent to the worker processes.
