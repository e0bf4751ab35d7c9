"""Chunks of songs for `test`: cut, normalised, with the references of the separator's sources."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from mdx_progressive.data.batch import ChunkBatch, Origin
from mdx_progressive.data.chunk_plan import ChunkSpan
from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import LoadedSong, ReadingOptions, load_song, sum_of_stems
from mdx_progressive.data.stem_grouping import group_stems
from mdx_progressive.dsp import silent_channels


@dataclass
class ChunkReader:
    """Reads chunks, and keeps the last song: its chunks are read one after the other.

    Args:
        options: How they are read.
        sources: The separator's sources.
    """

    options: ReadingOptions
    sources: Sequence[str]
    _last: tuple[Song, LoadedSong] | None = field(default=None, init=False)

    def __call__(self, span: ChunkSpan) -> ChunkBatch:
        """A batch of one chunk.

        Raises:
            MdxError: If the song can't be read or lacks a stem.
        """
        song, rate = self._load(span.song), self.options.sample_rate
        part = slice(span.start, span.start + span.length)
        mixture = song.mixture[:, part]
        length = mixture.shape[-1]
        gain = self.options.gain([mixture])
        groups = group_stems(song.stems, self.sources, span.song, self.options.has_mixture(span.song))
        stems = {name: stem[:, part] for name, stem in song.stems.items()}
        sums = [sum_of_stems({stem: stems[stem] for stem in group}) if group else None for group in groups.values()]
        true = [mixture - sum_of_stems(stems) if total is None else total for total in sums]
        references = gain * torch.stack(true).unsqueeze(0)
        mixture = gain * mixture.unsqueeze(0)
        silent, blocks = silent_channels(references, mixture), self.options.blocks(length)
        origin = Origin(span.song.name, span.chunk, song.sample_rate, round(length * song.sample_rate / rate))
        return ChunkBatch([origin], mixture, torch.tensor([gain]), references, silent, blocks=blocks)

    def _load(self, song: Song) -> LoadedSong:
        if self._last is None or self._last[0] is not song:
            self._last = None  # Two decoded songs at once would take twice the memory.
            self._last = song, load_song(song, self.options.sample_rate, self.options.mixture)
        return self._last[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": None}  # A decoded song is not sent to the worker processes.
