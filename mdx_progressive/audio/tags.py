"""Title, artist and other tags, read from the file of a song, and written to those of its estimates."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mutagen import MutagenError, id3
from mutagen.flac import FLAC

from mdx_progressive.audio.decoders import DecoderError, ask_once

_FFMPEG_NAMES = {
    "title": "title", "artist": "artist", "album": "album", "tracknumber": "track", "date": "date", "genre": "genre",
    "comment": "comment", "copyright": "copyright",
}  # fmt: skip
"""FFmpeg's names of tags by libsndfile's."""
_ID3_FRAMES: dict[str, Callable[..., id3.Frame]] = {
    "title": id3.TIT2, "artist": id3.TPE1, "album": id3.TALB, "tracknumber": id3.TRCK, "date": id3.TDRC,
    "genre": id3.TCON, "comment": id3.COMM, "copyright": id3.TCOP, "software": id3.TSSE,
}  # fmt: skip


def read_tags(path: Path) -> dict[str, str]:
    """The tags of a file, by libsndfile's names; FFmpeg reads those of all formats, even of a wav's INFO."""
    tags: dict[str, str] = {}
    with suppress(DecoderError):
        tags = ask_once(path, "describe")["tags"]
    return {name: tags[other] for name, other in _FFMPEG_NAMES.items() if tags.get(other)}


def write_id3_tags(path: Path, tags: Mapping[str, str]) -> None:
    """Set the tags of a finished MP3, as ID3v2.4 in UTF-8; libsndfile would write them as Latin-1."""
    frames = id3.ID3()
    for name, text in tags.items():
        frame = _ID3_FRAMES[name](encoding=id3.Encoding.UTF8, text=text)
        if name == "date" and not (str(frame) and text.replace("T", " ").startswith(str(frame))):
            # "3.5.1999" is no time stamp of ID3, which would make it the year 3.
            frame = id3.TXXX(encoding=id3.Encoding.UTF8, desc=name, text=text)
        frames.add(frame)
    with _disk_errors():
        frames.save(path)


def write_flac_comment(path: Path, name: str, value: str) -> None:
    """Add a comment to a finished flac."""
    with _disk_errors():
        file = FLAC(path)
        file[name] = value
        file.save(padding=lambda info: 0)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except MutagenError as error:  # It stands for any OSError, as that of a full disk.
        raise OSError(str(error)) from error
