"""Title, artist and the like, taken from a song's file to those of its estimates."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import av
import soundfile

from mdx_progressive.audio.decode import open_with_ffmpeg

_TAGS = {
    "title": "title", "artist": "artist", "album": "album", "tracknumber": "track", "date": "date", "genre": "genre",
    "comment": "comment", "copyright": "copyright",
}  # fmt: skip
"""libsndfile's names, and FFmpeg's."""
_ID3 = {
    "title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "tracknumber": b"TRCK", "date": b"TDRC", "genre": b"TCON",
    "comment": b"COMM", "copyright": b"TCOP",
}  # fmt: skip
_SEVENS = (21, 14, 7, 0)
_ID3V1 = 128
"""Bytes that it has, at the end of a file."""


def read_tags(path: Path) -> dict[str, str]:
    """The tags of a file, by libsndfile's names; none if it has none."""
    found: dict[str, str] = {}
    with suppress(av.FFmpegError), open_with_ffmpeg(path) as container:
        # Ogg has them with the stream, the others with the file.
        streams = [stream.metadata for stream in container.streams.audio[:1]]
        for metadata in [*streams, container.metadata]:
            found |= {name.lower(): value for name, value in metadata.items()}
    return {name: found[other] for name, other in _TAGS.items() if found.get(other)}


def write_tags(file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
    """Put tags into a file, before its first sample."""
    for name, value in tags.items():
        setattr(file, name, value)


def reserve_space(file: soundfile.SoundFile, tags: Mapping[str, str]) -> None:
    """Have an MP3 begin with a tag that is large enough for these; libsndfile would write them as Latin-1."""
    if tags:
        file.comment = "?" * len(_frames(tags))


def finish_mp3(path: Path, tags: Mapping[str, str]) -> None:
    """Put tags where there is room for them, as ID3v2.4 in UTF-8, and take off what ID3v1 has of that room."""
    if not tags:
        return
    with path.open("r+b") as file:
        size = sum(byte << shift for byte, shift in zip(file.read(10)[6:], _SEVENS, strict=True))
        file.seek(3)
        file.write(b"\4\0\0" + _sevens(size) + _frames(tags).ljust(size, b"\0"))
        end = file.seek(-_ID3V1, os.SEEK_END)
        if file.read(3) == b"TAG":
            file.truncate(end)


def _frames(tags: Mapping[str, str]) -> bytes:
    """The frames of ID3v2.4 (section 4)."""
    frames = []
    for name, text in tags.items():
        # A comment has a language, here an unknown one, and a description.
        body = b"\3" + (b"XXX\0" if name == "comment" else b"") + text.encode()
        frames.append(_ID3[name] + _sevens(len(body)) + b"\0\0" + body)
    return b"".join(frames)


def _sevens(number: int) -> bytes:
    """A number in four bytes, of which each has seven bits of it."""
    return bytes(number >> shift & 0x7F for shift in _SEVENS)
