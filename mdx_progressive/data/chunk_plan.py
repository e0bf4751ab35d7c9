"""Where the chunks of a song lie: from the first moment at which every stem sounds."""

from dataclasses import dataclass

from torch import Tensor

from mdx_progressive.data.song import PreparedCut, Song


@dataclass(frozen=True)
class ChunkSpan:
    """A chunk within a song.

    Args:
        song: The song.
        chunk: Number of the chunk within the song.
        start: First sample, at the separator's sample rate.
        length: Number of samples.
    """

    song: Song
    chunk: int
    start: int
    length: int


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


def plan_chunks(song: Song, start: int, time: int, chunk: int | None, all_chunks: bool, second: int) -> list[ChunkSpan]:
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
        return [ChunkSpan(song, 0, start, time - start)]
    if not all_chunks:
        return [ChunkSpan(song, 0, start, min(chunk, time - start))]
    starts = list(range(start, time, chunk))
    if len(starts) > 1 and time - starts[-1] < second:
        starts.pop()
    ends = [*starts[1:], time]
    return [
        ChunkSpan(song, number, begin, end - begin)
        for number, (begin, end) in enumerate(zip(starts, ends, strict=True))
    ]


def prepared_span(song: Song, cut: PreparedCut, sample_rate: int) -> ChunkSpan:
    """The place of a song that is a chunk already: all of it.

    Args:
        song: The song.
        cut: What it is a chunk of.
        sample_rate: The separator's sample rate in Hz, to which it will be resampled.
    """
    return ChunkSpan(song, cut.chunk, 0, round(cut.length * sample_rate / cut.sample_rate))
