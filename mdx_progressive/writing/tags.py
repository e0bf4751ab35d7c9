"""Title, artist and the like, taken from a song's file to those of its estimates."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import av
import soundfile

from mdx_progressive.data.audio import open_with_ffmpeg

_TAGS = {
    "title": "title", "artist": "artist", "album": "album", "tracknumber": "track", "date": "date", "genre": "genre",
    "comment": "comment", "copyright": "copyright",
}  # fmt: skip
"""libsndfile's names, and FFmpeg's."""


def tags_of(path: Path) -> dict[str, str]:
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
