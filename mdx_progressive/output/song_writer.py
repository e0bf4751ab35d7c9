"""The files of a song, written when the last of its blocks is there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from mdx_progressive.audio import read_tags
from mdx_progressive.data import MixtureChoice, Origin, Song, SongStream
from mdx_progressive.output.block_store import BlockStore
from mdx_progressive.output.partial_songs import PartialSongs
from mdx_progressive.output.provenance import SOFTWARE, Maker
from mdx_progressive.output.song_estimates import resampled_estimates
from mdx_progressive.output.stem_files import Piece, StemFiles
from mdx_progressive.output.stem_paths import StemPaths
from mdx_progressive.output.stems import StemMix
from mdx_progressive.runtime import ChangedError

_PIECE = 1 << 18
"""Samples that are written at a time."""


@dataclass(frozen=True)
class SongWriter:
    """Stores the blocks of songs, and writes the files of a song from them.

    Args:
        files: How files are written.
        paths: Where.
        stems: The stems of the estimates.
        partial_songs: The blocks of songs meanwhile.
        songs: The songs by name.
        mixture: Which mixture of a song it is, as in `ReadingOptions`.
        tags: Whether the files get the tags of the song's file.
        maker: What makes the stems, for them to tell; None where that is not known.
        sample_rate: The separator's sample rate in Hz.
        crossfade: Samples over which the blocks crossfade into each other.
    """

    files: StemFiles
    paths: StemPaths
    stems: StemMix
    partial_songs: PartialSongs
    songs: Mapping[str, Song]
    mixture: MixtureChoice
    tags: bool
    maker: Maker | None
    sample_rate: int
    crossfade: int

    def add(self, origin: Origin, estimates: Tensor) -> list[Path]:
        """Store a block of a song, and write the files of the song if it was the last one.

        Args:
            origin: Where the block was taken from.
            estimates: Its estimates, without its context.

        Shape:
            - estimates: (target, channel, time)

        Returns:
            The files of the song, if all of them exist now.

        Raises:
            MdxError: If the song can't be read, or a file not be written.
            OSError: If a block can't be written.
        """
        self.partial_songs.blocks(origin.song).put(origin.chunk, estimates)
        return self.finish(origin)

    def finish(self, origin: Origin) -> list[Path]:
        """Write the files of a song if all of its blocks are there; as `add`, given the origin of any block."""
        with self.partial_songs.lock(origin.song):
            blocks = self.partial_songs.blocks(origin.song)
            if not all(blocks.has(number) for number in range(origin.blocks)):
                return []
            try:
                if missing := self.paths.missing(origin.song):
                    self._write(blocks, origin, missing)
            except ChangedError:
                blocks.remove()
                raise
            blocks.remove()
            return self.paths.files(origin.song)

    def _write(self, blocks: BlockStore, origin: Origin, paths: Mapping[int, Path]) -> None:
        song = self.songs[origin.song]
        mixture = SongStream(song, origin.sample_rate, self.mixture) if self.stems.need_mixture else None
        tags = read_tags(song.mixture.path) if song.mixture and self.tags else {}
        if self.maker:
            tags[SOFTWARE] = self.maker.provenance(song).text
        self.files.write(origin, paths, self.stems, partial(self._pieces, blocks, origin, mixture), tags)

    def _pieces(self, blocks: BlockStore, origin: Origin, mixture: SongStream | None) -> Iterator[Piece]:
        """The estimates piece by piece, each with the same stretch of the mixture.

        Raises:
            MdxError: If the mixture can't be read, or has changed by the end.
        """
        start = 0
        for estimates in self._estimates(blocks, origin):
            stop = start + estimates.shape[-1]
            yield Piece(estimates, mixture.read(start, stop) if mixture else None)
            start = stop
        if mixture:
            mixture.song.check()

    def _estimates(self, blocks: BlockStore, origin: Origin) -> Iterator[Tensor]:
        """The estimates of a song (target, channel, time) at its own sample rate, piece by piece."""
        joined = blocks.joined(origin.blocks, self.crossfade)
        for piece in resampled_estimates(joined, origin, self.sample_rate):
            yield from piece.split(_PIECE, dim=-1)
