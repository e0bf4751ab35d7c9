"""A place within a song made into a chunk: cut, normalised, with the references that the separator needs."""

from collections.abc import Sequence

import torch

from mdx_progressive.batch import ChunkBatch, Origin
from mdx_progressive.data.grouping import group
from mdx_progressive.data.normalisation import Normalisation
from mdx_progressive.data.places import Place
from mdx_progressive.data.reading import SongReader
from mdx_progressive.metrics import silent


class Chunker:
    """Makes the chunk of a place.

    Args:
        reader: Reads the song.
        sources: The separator's sources; None where references are not wanted.
        normalisation: The level of the chunks; None keeps it.
    """

    def __init__(self, reader: SongReader, sources: Sequence[str] | None, normalisation: Normalisation | None) -> None:
        self.reader = reader
        self.sources = sources
        self.normalisation = normalisation

    def __call__(self, place: Place) -> ChunkBatch:
        """A batch of one chunk.

        Raises:
            MdxError: If the song can't be read or lacks a stem.
        """
        song = self.reader.load(place.song)
        end = None if place.length is None else place.start + place.length
        mixture = song.mixture[:, place.start : end]
        gain = self.normalisation.gain(mixture, self.reader.sample_rate) if self.normalisation else 1.0
        own_length = round(mixture.shape[-1] * song.sample_rate / self.reader.sample_rate)
        length = song.length if place.length is None else own_length
        origin = Origin(place.song.name, place.chunk, song.sample_rate, length)
        batch = ChunkBatch([origin], gain * mixture.unsqueeze(0), torch.tensor([gain]))
        if self.sources is not None:
            grouped = group(song.stems, self.sources, place.song.place)
            stems = [[song.stems[stem][:, place.start : end] for stem in grouped[source]] for source in self.sources]
            references = torch.stack([torch.stack(parts).sum(dim=0) for parts in stems])
            batch.references = gain * references.unsqueeze(0)
            batch.silent = silent(batch.references, batch.mixture)
        return batch
