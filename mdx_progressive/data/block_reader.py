"""A block of a song, for `predict`: as much of the song is in memory as one block needs."""

from typing import NamedTuple

import torch

from mdx_progressive.data.batch import ChunkBatch, Origin
from mdx_progressive.data.channel_pairs import ChannelPairs
from mdx_progressive.data.normalisation import Normalisation
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import MixtureChoice
from mdx_progressive.data.song_stream import SongStream
from mdx_progressive.dsp import BlockPlanner
from mdx_progressive.runtime import MdxError


class SongBlock(NamedTuple):
    """A block within a song.

    Args:
        song: The song.
        origin: Where the block was taken from.
    """

    song: Song
    origin: Origin

    @property
    def chunk(self) -> int:
        """Number of the block."""
        return self.origin.chunk


class BlockReader:
    """Plans and reads the blocks of songs; those of a song come one after the other.

    Args:
        sample_rate: The separator's sample rate in Hz.
        mixture: As `reading.load` has it.
        normalisation: The level of the blocks; None keeps it.
        cut: How a song is cut into blocks.
    """

    def __init__(
        self,
        sample_rate: int,
        mixture: MixtureChoice,
        normalisation: Normalisation | None,
        cut: BlockPlanner,
    ) -> None:
        self.sample_rate = sample_rate
        self.mixture: MixtureChoice = mixture
        self.normalisation = normalisation
        self.cut = cut
        self._stream: SongStream | None = None
        self._faults: dict[str, str] = {}

    def plan(self, song: Song) -> list[SongBlock]:
        """The blocks of a song.

        Raises:
            MdxError: If it can't be read.
        """
        stream = SongStream(song, self.sample_rate, self.mixture)
        planned = self.cut(stream.length)
        own, layout = stream.own, stream.layout()
        pairs, blocks = ChannelPairs.of(stream.channels, layout), len(planned)
        return [
            SongBlock(song, Origin(song.name, block.number, own.sample_rate, own.length, block, blocks, pairs, layout))
            for block in planned
        ]

    def __call__(self, place: SongBlock) -> ChunkBatch:
        """A batch of one block, with an item for each of its pairs of channels.

        Raises:
            MdxError: If the song can't be read up to there.
        """
        song, block = place.song, place.origin.block
        assert block is not None
        try:
            # What could not be read once would only be read again in vain, for each of the blocks that follow.
            if song.name in self._faults:
                raise MdxError(self._faults[song.name])
            if self._stream is None or self._stream.song is not song:
                self._stream = None  # Two songs at once would take twice the memory.
                self._stream = SongStream(song, self.sample_rate, self.mixture)
            mixture = self._stream.stretch(block.start, block.stop)
            song.check()
        except (MdxError, OSError) as error:
            self._faults[song.name] = str(error)
            raise
        items = place.origin.pairs.split(mixture)
        gain = torch.ones(len(items))
        if self.normalisation:
            gain = torch.tensor([self.normalisation.gain(item, self.sample_rate) for item in items])
        return ChunkBatch([place.origin] * len(items), gain[:, None, None] * items, gain)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_stream": None}  # What is half read is not sent to the worker processes.
