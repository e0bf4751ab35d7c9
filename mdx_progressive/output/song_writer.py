"""The files of a song, written when the last of its blocks is there."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mdx_progressive.audio import read_tags, resample_stream
from mdx_progressive.data import MixtureChoice, Origin, Song, SongStream
from mdx_progressive.output.block_store import BlockStore
from mdx_progressive.output.partial_songs import KeptBlocks
from mdx_progressive.output.stem_files import Piece, StemFiles
from mdx_progressive.output.stems import StemMix
from mdx_progressive.runtime import ChangedError

_PIECE = 1 << 18
"""Samples that are written at a time."""


class SongWriter:
    """Keeps the blocks of songs, and makes files of them.

    Args:
        files: How they are written.
        outputs: What is made of the estimates.
        paths: The files of a song, one for each output.
        kept: Where its blocks lie meanwhile.
        songs: The songs by name; of one that is not among them there is no input, and there are no tags.
        mixture: As for `load_song`.
        tags: Whether the files get the tags of the song's file.
        sample_rate: That of the estimates in Hz.
        crossfade: Samples over which the blocks crossfade into each other.
        targets: How many estimates there are.
        overwrite: Whether files that exist are written again.
        shared: Whether other processes are working on the same songs.
    """

    def __init__(
        self,
        files: StemFiles,
        outputs: StemMix,
        paths: Callable[[str], Sequence[Path]],
        kept: KeptBlocks,
        songs: Mapping[str, Song],
        mixture: MixtureChoice,
        tags: bool,
        sample_rate: int,
        crossfade: int,
        targets: int,
        overwrite: bool,
        shared: bool,
    ) -> None:
        self.files = files
        self.outputs = outputs
        self.paths = paths
        self.kept = kept
        self.songs = songs
        self.mixture: MixtureChoice = mixture
        self.tags = tags
        self.sample_rate = sample_rate
        self.crossfade = crossfade
        self.targets = targets
        self.overwrite = overwrite
        self.shared = shared

    def keep(self, origin: Origin, part: Tensor) -> list[Path]:
        """Keep a block of a song, and write the files of the song if it was the last one.

        Args:
            origin: Where it was taken from.
            part: What it stands for.

        Shape:
            - part: (target, channel, time)

        Returns:
            The files of the song, if all of them are there now.

        Raises:
            MdxError: If the song can't be read, or a file not be written.
            OSError: If a block can't be written.
        """
        self.kept.of(origin.song).put(origin.chunk, part)
        return self.join(origin)

    def join(self, origin: Origin) -> list[Path]:
        """Write the files of a song if all of its blocks are there.

        Args:
            origin: Where one of its blocks was taken from.

        Returns:
            As `keep`.

        Raises:
            MdxError: As `keep`.
            OSError: As `keep`.
        """
        with self.kept.lock(origin.song) if self.shared else nullcontext():
            parts = self.kept.of(origin.song)
            if not all(parts.has(number) for number in range(origin.blocks)):
                return []
            paths = list(self.paths(origin.song))
            wanted = {number: path for number, path in enumerate(paths) if self.overwrite or not os.path.isfile(path)}
            try:
                if wanted:
                    self._write(origin, wanted)
            except ChangedError:
                parts.remove()
                raise
            parts.remove()
            return paths

    def _write(self, origin: Origin, paths: Mapping[int, Path]) -> None:
        song = self.songs.get(origin.song)
        mixture = SongStream(song, origin.sample_rate, self.mixture) if song and self.outputs.need_the_input else None
        tags = read_tags(song.mixture.path) if song and song.mixture and self.tags else {}
        pieces = partial(self._pieces, self.kept.of(origin.song), origin, mixture)
        self.files.write(origin, paths, self.outputs, pieces, tags)

    def _pieces(self, parts: BlockStore, origin: Origin, mixture: SongStream | None) -> Iterator[Piece]:
        """The estimates piece by piece, each with the same stretch of the input.

        Raises:
            MdxError: If the input can't be read, or has changed by the end.
        """
        start = 0
        for estimates in self._estimates(parts, origin):
            stop = start + estimates.shape[-1]
            yield Piece(estimates, mixture.read(start, stop) if mixture else None)
            start = stop
        if mixture:
            mixture.song.check()

    def _estimates(self, parts: BlockStore, origin: Origin) -> Iterator[Tensor]:
        """The estimates of a song (target, channel, time) at its own sample rate, piece by piece."""
        flat = (piece.flatten(0, 1) for piece in parts.joined(origin.blocks, self.crossfade))
        missing, signals = origin.length, 0
        for piece in resample_stream(flat, self.sample_rate, origin.sample_rate):
            within = piece[:, :missing]
            signals, missing = len(piece), missing - within.shape[-1]
            if within.shape[-1]:
                yield from within.unflatten(0, (self.targets, -1)).split(_PIECE, dim=-1)
        if missing:  # The resampled length may be off by a sample.
            yield torch.zeros(self.targets, signals // self.targets, missing)
