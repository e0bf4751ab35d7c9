"""What the headers of a song's files say, and in what they differ."""

from collections.abc import Iterable, Mapping

from mdx_progressive.audio import AudioStream, Header, Signal
from mdx_progressive.data.song import Song

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
_DEPTHS = {**{name: f"{bits} bit" for name, bits in _BITS.items()}, "FLOAT": "32 bit float", "DOUBLE": "64 bit float"}

Headers = Mapping[AudioStream, Header]


def read_headers(song: Song) -> dict[AudioStream, Header]:
    """The headers of all of a song's files.

    Raises:
        MdxError: If one can't be read.
    """
    return {stream: stream.header() for stream in song.streams}


def bit_depth(signals: Iterable[Signal], known: Headers) -> int | None:
    """The most bits that a sample has in the files; None where encoders left none (mp3, AAC)."""
    found = [_BITS.get(known[stream].encoding) for signal in signals for stream in signal.streams]
    return max((bits for bits in found if bits is not None), default=None)


def stem_differences(song: Song, known: Headers) -> list[str]:
    """In what the files of a song differ: sample rate, depth, channels, length; a sentence each, with the files."""
    said = {
        stream: {
            "sample rate": f"{header.sample_rate} Hz",
            "depth": _DEPTHS.get(header.encoding, header.encoding),
            "number of channels": str(header.channels),
            "length": "unknown" if header.length is None else f"{header.length} samples",
        }
        for stream, header in known.items()
    }
    found = []
    for what in next(iter(said.values()), {}):
        files: dict[str, list[str]] = {}
        for stream, facts in said.items():
            files.setdefault(facts[what], []).append(_name(song, stream))
        if len(files) > 1:
            listed = "; ".join(f"{value}: {', '.join(names)}" for value, names in files.items())
            found.append(f"{what} differs: {listed}")
    return found


def _name(song: Song, stream: AudioStream) -> str:
    if stream.path == song.place:
        return f"stream {stream.stream}"
    return stream.path.relative_to(song.place).as_posix()
