"""Chunk plan: where a song is trimmed and cut, from the first moment at which every stem sounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mdx_progressive.data.song import Song
from mdx_progressive.data.song_reader import LoadedSong
from mdx_progressive.runtime import MdxError


@dataclass(frozen=True)
class ChunkSpan:
    """A chunk within a song.

    Args:
        song: The song.
        chunk: Number of the chunk within the song.
        start: First sample, at the sample rate that the song is read at.
        length: Number of samples.
    """

    song: Song
    chunk: int
    start: int
    length: int


def first_sound(stems: Mapping[str, Tensor], top_db: float) -> int:
    """The first sample at which every stem has begun to sound, as `librosa.effects.trim` defines it.

    A stem (channel, time) sounds from the first frame on whose RMS is less than `top_db` below that of its loudest
    frame. An entirely silent stem has no such frame to wait for.
    """
    from librosa.effects import trim

    starts = [int(trim(stem.numpy(), top_db=top_db)[1][0]) for stem in stems.values()]
    return max(starts, default=0)


@dataclass(frozen=True)
class ChunkPlan:
    """How songs are trimmed and cut into chunks.

    Args:
        chunk: Length of a chunk in seconds; None for the whole song.
        trim: How many dB below its loudest frame a stem does not sound yet; None begins at the song's beginning.
        all_chunks: Whether the chunks after the first are cut too. A remainder below a second joins the last one.

    Raises:
        MdxError: If a length or level is not above 0.
    """

    chunk: float | None = 30.0
    trim: float | None = 60.0
    all_chunks: bool = False
    option: ClassVar[str] = "data."
    """What precedes the names of the options, in messages."""

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk <= 0:
            raise MdxError(f"{self.option}chunk must be above 0 seconds, not {self.chunk}")
        if self.trim is not None and self.trim <= 0:
            raise MdxError(f"{self.option}trim must be above 0 dB, not {self.trim}")

    def length(self, sample_rate: int) -> int | None:
        """Samples of a chunk; None for the whole song.

        Raises:
            MdxError: If it is less than one.
        """
        length = None if self.chunk is None else int(self.chunk * sample_rate)
        if length == 0:
            raise MdxError(f"{self.option}chunk {self.chunk} is less than a sample at {sample_rate} Hz")
        return length

    def spans(self, song: Song, loaded: LoadedSong, sample_rate: int) -> list[ChunkSpan]:
        """The chunks of a song whose signals were loaded at a sample rate in Hz.

        Raises:
            MdxError: As for `length`.
        """
        length, time = self.length(sample_rate), loaded.mixture.shape[-1]
        start = 0 if self.trim is None else first_sound(loaded.stems, self.trim)
        if length is None or not self.all_chunks:
            return [ChunkSpan(song, 0, start, min(length or time, time - start))]
        starts = list(range(start, time, length))
        if len(starts) > 1 and time - starts[-1] < sample_rate:
            starts.pop()
        spans = zip(starts, [*starts[1:], time], strict=True)
        return [ChunkSpan(song, number, begin, end - begin) for number, (begin, end) in enumerate(spans)]
