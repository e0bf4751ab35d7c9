"""Headers of a song's files: their bit depth, and in what they differ."""

from collections.abc import Callable, Iterable, Mapping

from mdx_progressive.audio import AudioStream, Header, Signal
from mdx_progressive.data.song import Song

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
_DEPTHS = {**{name: f"{bits} bit" for name, bits in _BITS.items()}, "FLOAT": "32 bit float", "DOUBLE": "64 bit float"}

_FACTS: Mapping[str, Callable[[Header], str]] = {
    "sample rate": lambda header: f"{header.sample_rate} Hz",
    "depth": lambda header: _DEPTHS.get(header.encoding, header.encoding),
    "number of channels": lambda header: str(header.channels),
    "length": lambda header: "unknown" if header.length is None else f"{header.length} samples",
}


def bit_depth(signals: Iterable[Signal], headers: Mapping[AudioStream, Header]) -> int | None:
    """The most bits of a sample in the files; None where all are lossy (mp3, AAC)."""
    depths = [_BITS.get(headers[stream].encoding) for signal in signals for stream in signal.streams]
    return max((bits for bits in depths if bits is not None), default=None)


def stem_differences(song: Song, headers: Mapping[AudioStream, Header]) -> list[str]:
    """In what the files of a song differ: sample rate, depth, channels, length; a sentence each, with the files."""
    differences = []
    for name, fact in _FACTS.items():
        files: dict[str, list[str]] = {}
        for stream, header in headers.items():
            below = stream.path.relative_to(song.path).as_posix()
            files.setdefault(fact(header), []).append(f"stream {stream.stream}" if below == "." else below)
        if len(files) > 1:
            listed = "; ".join(f"{value}: {', '.join(names)}" for value, names in files.items())
            differences.append(f"{name} differs: {listed}")
    return differences
