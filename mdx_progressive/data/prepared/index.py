"""The index of a prepared set (index.json): its settings, the chunks with their files, differences and failures."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from mdx_progressive.runtime import MdxError, atomic_write, check_fields, read_json

INDEX_NAME = "index.json"
VERSION = 1
"""Of the format; a set of another version is refused."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a chunk.

    Args:
        file: Its path below the set's folder, with slashes.
        encoding: int16, int24 or float32.
        sha256: Its checksum, in hexadecimal.
    """

    file: str
    encoding: str
    sha256: str

    def __post_init__(self) -> None:
        check_fields(self)
        path = PurePosixPath(self.file)
        if path.is_absolute() or ".." in path.parts or "\\" in self.file or PureWindowsPath(self.file).drive:
            raise ValueError(f"{self.file} lies outside of the set")


@dataclass(frozen=True)
class StoredChunk:
    """A chunk of a song, as stored on disk.

    Args:
        song: Name of the song.
        chunk: Number of the chunk within the song, from 0.
        start: Its first sample within the song.
        start_seconds: The same in seconds.
        length: Number of samples.
        length_seconds: The same in seconds.
        sample_rate: Sample rate in Hz, the song's own.
        channels: Number of channels.
        bit_depth: Bits of a sample in the song's files, the most of them; null where all are lossy (mp3, AAC).
        silent: Stems that can't be heard: zero, or 60 dB below the mixture.
        mixture: The mixture as shipped; null if none was, and the uniform one is the mixture.
        uniform: The sum of the stems.
        stems: The stems by name.
    """

    song: str
    chunk: int
    start: int
    start_seconds: float
    length: int
    length_seconds: float
    sample_rate: int
    channels: int
    bit_depth: int | None
    silent: list[str]
    mixture: StoredFile | None
    uniform: StoredFile
    stems: dict[str, StoredFile]

    @property
    def files(self) -> list[StoredFile]:
        """All its files."""
        return [*([self.mixture] if self.mixture else []), self.uniform, *self.stems.values()]

    def is_complete(self, root: Path) -> bool:
        """Whether all its files are there."""
        return all((root / stored.file).is_file() for stored in self.files)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "StoredChunk":
        """The chunk of a row of JSON; raises what wrong JSON raises (KeyError, TypeError, ValueError)."""
        stems = {name: StoredFile(**stored) for name, stored in row["stems"].items()}
        mixture = StoredFile(**row["mixture"]) if row["mixture"] else None
        chunk = cls(**{**row, "mixture": mixture, "uniform": StoredFile(**row["uniform"]), "stems": stems})
        check_fields(chunk)
        if min(chunk.chunk, chunk.start, chunk.length - 1, chunk.sample_rate - 1, chunk.channels - 1) < 0:
            raise ValueError(f"chunk {chunk.chunk} of {chunk.song}: its place or its size is none")
        return chunk


@dataclass(frozen=True)
class PreparedSong:
    """The result of a song.

    Args:
        song: Its name.
        chunks: Its chunks.
        differences: In what its files differ from each other, one sentence each.
        fingerprint: That of its files (see `Song.fingerprint`).
        error: Why it could not be prepared.
    """

    song: str
    chunks: list[StoredChunk]
    differences: list[str] = field(default_factory=list)
    fingerprint: str = ""
    error: str | None = None

    def is_complete(self, root: Path) -> bool:
        """Whether all its files are there."""
        return all(chunk.is_complete(root) for chunk in self.chunks)


@dataclass(frozen=True)
class PreparedIndex:
    """The index of a prepared set; its attributes are the keys of the file.

    Args:
        settings: What determines the content: the data set, the cut, the format.
        finished: Whether every song was tried.
        chunks: The chunks of the songs that are done, in the order of the data set.
        differences: By the name of the song, in what its files differ from each other, one sentence each.
        failed: By the name of the song, why it could not be prepared.
        stamps: By the name of the song, the fingerprint of its files (see `Song.fingerprint`); the key of index.json,
            which keeps its former name for the sets that exist.
    """

    settings: dict[str, Any]
    finished: bool = False
    chunks: list[StoredChunk] = field(default_factory=list)
    differences: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stamps: dict[str, str] = field(default_factory=dict)

    @classmethod
    def finish(cls, settings: dict[str, Any], songs: Sequence[PreparedSong]) -> "PreparedIndex":
        """The index when every song was tried."""
        return cls(
            settings,
            finished=True,
            chunks=[chunk for song in songs for chunk in song.chunks],
            differences={song.song: song.differences for song in songs if song.differences},
            failed={song.song: song.error for song in songs if song.error is not None},
            stamps={song.song: song.fingerprint for song in songs if song.error is None},
        )

    def songs(self) -> dict[str, PreparedSong]:
        """The songs that are done, by name."""
        chunks: dict[str, list[StoredChunk]] = {}
        for chunk in self.chunks:
            chunks.setdefault(chunk.song, []).append(chunk)
        return {
            name: PreparedSong(name, song_chunks, self.differences.get(name, []), self.stamps.get(name, ""))
            for name, song_chunks in chunks.items()
        }

    def write(self, root: Path) -> None:
        """Write it into the set's folder, atomically."""
        with atomic_write(root / INDEX_NAME) as temporary:
            text = json.dumps({"version": VERSION, **asdict(self)}, indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, root: Path) -> "PreparedIndex":
        """The index of a prepared set.

        Raises:
            MdxError: If there is none, or it is of another version, or broken.
        """
        path = root / INDEX_NAME
        try:
            content = read_json(path)
            version = content.pop("version")
            if version == VERSION:
                rows = content.pop("chunks")
                index = cls(**content, chunks=[StoredChunk.from_json(row) for row in rows])
                check_fields(index)
                return index
        except FileNotFoundError as error:
            raise MdxError(
                f"{root}: holds no {INDEX_NAME}; `mdx-progressive prepare --to {root}` makes a prepared set"
            ) from error
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise MdxError(
                f"{path}: is no index of a prepared set ({error!r}); if it was one, delete {root} and prepare again"
            ) from error
        raise MdxError(
            f"{path}: is of version {version}, this package reads version {VERSION}: delete {root} and prepare again"
        )
