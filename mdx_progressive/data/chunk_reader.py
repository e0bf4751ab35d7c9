"""A place within a song made into a chunk: cut, normalised, with the references that the separator needs."""

from collections.abc import Sequence

import torch

from mdx_progressive.data.batch import ChunkBatch, Origin
from mdx_progressive.data.chunk_plan import ChunkSpan
from mdx_progressive.data.normalisation import Normalisation
from mdx_progressive.data.song_reader import SongReader
from mdx_progressive.data.stem_grouping import group_stems
from mdx_progressive.dsp import BlockPlanner, silent_channels


class Chunker:
    """Makes the chunk of a place.

    Args:
        reader: Reads the song.
        sources: The separator's sources.
        normalisation: The level of the chunks; None keeps it.
        cut: How a long chunk is cut into blocks.
    """

    def __init__(
        self,
        reader: SongReader,
        sources: Sequence[str],
        normalisation: Normalisation | None,
        cut: BlockPlanner,
    ) -> None:
        self.reader = reader
        self.sources = sources
        self.normalisation = normalisation
        self.cut = cut

    def __call__(self, place: ChunkSpan) -> ChunkBatch:
        """A batch of one chunk.

        Raises:
            MdxError: If the song can't be read or lacks a stem.
        """
        song = self.reader.load(place.song)
        rate, end = self.reader.sample_rate, place.start + place.length
        mixture = song.mixture[:, place.start : end]
        gain = self.normalisation.gain(mixture, rate) if self.normalisation else 1.0
        origin = Origin(
            place.song.name, place.chunk, song.sample_rate, round(mixture.shape[-1] * song.sample_rate / rate)
        )
        grouped = group_stems(song.stems, self.sources, place.song)
        stems = [[song.stems[stem][:, place.start : end] for stem in grouped[source]] for source in self.sources]
        references = gain * torch.stack([torch.stack(parts).sum(dim=0) for parts in stems]).unsqueeze(0)
        heard = gain * mixture.unsqueeze(0)
        return ChunkBatch(
            [origin],
            heard,
            torch.tensor([gain]),
            references,
            silent_channels(references, heard),
            blocks=self.cut(heard.shape[-1]),
        )
