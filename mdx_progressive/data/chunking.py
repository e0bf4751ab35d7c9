"""From a song on disk to aligned, trimmed, normalised chunks at the separator's sample rate."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mdx_progressive.batch import ChunkBatch, Origin
from mdx_progressive.data.audio import resample
from mdx_progressive.data.grouping import elementary, group
from mdx_progressive.data.normalisation import Normalisation
from mdx_progressive.data.songs import Song
from mdx_progressive.errors import MdxError
from mdx_progressive.metrics import silent

log = logging.getLogger(__name__)

MixtureChoice = Literal["shipped", "sum"]


@dataclass(frozen=True)
class Place:
    """A chunk within a song.

    Args:
        song: The song.
        chunk: Number of the chunk within the song.
        start: First sample, at the separator's sample rate.
        length: Number of samples; None for all that follow.
    """

    song: Song
    chunk: int = 0
    start: int = 0
    length: int | None = None


@dataclass(frozen=True)
class LoadedSong:
    """A decoded song, its signals aligned, with equally many channels, at the separator's sample rate.

    Shape:
        - mixture and each stem: (channel, time)
    """

    mixture: Tensor
    stems: dict[str, Tensor]
    sample_rate: int
    """The song's own sample rate in Hz."""
    length: int
    """Length in samples at that rate."""


class SongReader:
    """Reads songs, and keeps the last one: its chunks come one after the other.

    Args:
        sample_rate: The separator's sample rate in Hz.
        mixture: "shipped" takes the mixture file where there is one, else the sum of the stems; "sum" always
            the uniform sum.
        with_stems: Whether to read the stems even where the mixture needs none.
    """

    def __init__(self, sample_rate: int, mixture: MixtureChoice, with_stems: bool) -> None:
        self.sample_rate = sample_rate
        self.mixture = mixture
        self.with_stems = with_stems
        self._last: tuple[Song, LoadedSong] | None = None

    def load(self, song: Song) -> LoadedSong:
        """Decode the mixture and, if asked for, the stems.

        Raises:
            MdxError: If a file can't be read, or there is neither a mixture nor a stem.
        """
        if self._last is None or self._last[0] is not song:
            self._last = None  # Two decoded songs at once would take twice the memory.
            self._last = song, self._load(song)
        return self._last[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_last": None}  # A decoded song is not sent to the worker processes.

    def _load(self, song: Song) -> LoadedSong:
        shipped = song.mixture.read() if song.mixture and self.mixture == "shipped" else None
        names = elementary(song.stems) if self.with_stems or shipped is None else []
        read = {name: song.stems[name].read() for name in names}
        if shipped is None and not read:
            raise MdxError(f"{song.place}: has no stems whose sum could be the mixture; set data.mixture to shipped")
        waveform, sample_rate = shipped or next(iter(read.values()))

        stems = {name: resample(stem, rate, self.sample_rate) for name, (stem, rate) in read.items()}
        mixture = [resample(*shipped, self.sample_rate)] if shipped else []
        signals = [*stems.values(), *mixture]
        channels = max(signal.shape[0] for signal in signals)
        time = max(signal.shape[-1] for signal in signals)
        if any(signal.shape[-1] != time for signal in signals):
            log.warning("%s: its files differ in length; the shorter ones are filled up with silence", song.place)

        def fit(signal: Tensor) -> Tensor:
            return functional.pad(signal, (0, time - signal.shape[-1])).expand(channels, -1)

        stems = {name: fit(stem) for name, stem in stems.items()}
        whole = fit(mixture[0]) if mixture else torch.stack(list(stems.values())).sum(dim=0)
        return LoadedSong(whole, stems, sample_rate, waveform.shape[-1])


def first_sound(stems: dict[str, Tensor], top_db: float) -> int:
    """The first sample at which every stem has begun to sound, as `librosa.effects.trim` defines it.

    A stem sounds from the first frame on whose RMS is less than `top_db` below that of its loudest frame. An
    entirely silent stem has no such frame to wait for.

    Args:
        stems: The stems, each (channel, time).
        top_db: Threshold in dB below the loudest frame.
    """
    from librosa.effects import trim

    starts = [int(trim(stem.numpy(), top_db=top_db)[1][0]) for stem in stems.values()]
    return max(starts, default=0)


def places(song: Song, start: int, time: int, chunk: int | None, all_chunks: bool, second: int) -> list[Place]:
    """The chunks of a song from its first sound on.

    Args:
        song: The song.
        start: Its first sample that counts.
        time: Its length in samples.
        chunk: Length of a chunk in samples; None for one chunk with all there is.
        all_chunks: Whether to go on after the first chunk. A remainder shorter than a second joins the last one.
        second: Samples in a second.
    """
    if chunk is None:
        return [Place(song, 0, start, time - start)]
    if not all_chunks:
        return [Place(song, 0, start, min(chunk, time - start))]
    starts = list(range(start, time, chunk))
    if len(starts) > 1 and time - starts[-1] < second:
        starts.pop()
    ends = [*starts[1:], time]
    return [
        Place(song, number, begin, end - begin) for number, (begin, end) in enumerate(zip(starts, ends, strict=True))
    ]


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
