"""Songs on disk: names, files and fingerprints; the built-in clip, plain audio files. Nothing is decoded here."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from importlib.resources import as_file
from pathlib import Path

from mdx_progressive.audio import AudioStream, Signal
from mdx_progressive.data.file_search import FileSearch
from mdx_progressive.data.prepared.index import StoredChunk
from mdx_progressive.runtime import ChangedError, MdxError, package_file, real_path, text_name


@dataclass(frozen=True)
class Song:
    """A song on disk; one whose name leads out of the output folder can't be used. Its name is text in any case.

    Args:
        name: Name in tables and of its output folder; may hold slashes where it lies in a sub-folder.
        mixture: The mixture as shipped, if there is one.
        stems: Its stems by name; none for a plain audio file.
        prepared: Which chunk of a song it is, if it was prepared.
        error: Why it can't be used, if that is known before anything is read.
        hint: What a user can do about it where it lacks a stem.
    """

    name: str
    mixture: Signal | None
    stems: dict[str, Signal] = field(default_factory=dict)
    prepared: StoredChunk | None = None
    error: str | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", text_name(self.name))
        folder = Path(self.name)
        if self.error is None and (folder.anchor or not folder.parts or ".." in folder.parts or "\0" in self.name):
            reason = f"{self.path}: its name, {self.name!r}, leads out of the output folder; rename it"
            object.__setattr__(self, "error", reason)

    @property
    def streams(self) -> list[AudioStream]:
        """All streams of its files, the mixture first."""
        signals = [*([self.mixture] if self.mixture else []), *self.stems.values()]
        return [stream for signal in signals for stream in signal.streams]

    @property
    def path(self) -> Path:
        """File or folder to name in messages."""
        paths = [stream.path for stream in self.streams]
        return Path(os.path.commonpath(paths)) if paths else Path(self.name)

    @property
    def fingerprint(self) -> str:
        """Changes when a file of the song was changed before the run, as its size and date tell."""
        stats = [(path.name, *stat) for path, stat in self._first_stats.items()]
        return sha256(repr(stats).encode()).hexdigest()[:16]

    @cached_property
    def _first_stats(self) -> dict[Path, tuple[int, int]]:
        return self._stats()

    def _stats(self) -> dict[Path, tuple[int, int]]:
        """Size and date of its files."""
        stats = {}
        for path in dict.fromkeys(stream.path for stream in self.streams):
            with suppress(OSError):  # It is read soon, and that tells more.
                stat = path.stat()
                stats[path] = stat.st_size, stat.st_mtime_ns
        return stats

    def with_chunk_in_name(self) -> "Song":
        """The same song, a prepared one with its chunk's number in its name, which several chunks share otherwise."""
        return replace(self, name=f"{self.name}/{self.prepared.chunk}") if self.prepared else self

    def check(self) -> None:
        """See that it can be used and its files are unchanged; to be called before and after it is read.

        Raises:
            MdxError: If it can't, or a file has changed since the first call.
        """
        if self.error is not None:
            raise MdxError(self.error)
        for path, stat in self._stats().items():
            if self._first_stats.get(path, stat) != stat:
                raise ChangedError(f"{path}: was changed while it was in use; its results so far are discarded")


def builtin_clip() -> Song:
    """The 6 s excerpt of MUSDB18's test set in the `stempeg` wheel: The Easton Ellises, Falcon 69.

    Its five AAC streams are the mixture, drums, bass, other and vocals; mixture and sum of the stems differ
    by 15 dB.

    Raises:
        MdxError: If the wheel or its clip is missing.
    """
    with as_file(package_file("stempeg", "data", "The Easton Ellises - Falcon 69.stem.mp4")) as path:
        names = ("drums", "bass", "other", "vocals")
        stems: dict[str, Signal] = {name: AudioStream(path, stream) for stream, name in enumerate(names, 1)}
        return Song("The Easton Ellises - Falcon 69", AudioStream(path), stems)


def audio_files(inputs: Iterable[Path]) -> list[Song]:
    """The given files, and all audio files below the given folders; one that can't be used is a song with an error.

    A song is called as its file without the suffix, within a folder by its path from there. Of several files with one
    name none is used: whose estimates an output folder holds could not be told.
    """
    songs = [song for path in inputs for song in (_folder_songs(path) if os.path.isdir(path) else [_file_song(path)])]
    return distinct_songs(songs)


def distinct_songs(songs: Iterable[Song]) -> list[Song]:
    """The songs, those of one name with an error in their place; the chunks of a prepared song are several."""
    namesakes: dict[tuple[str, int | None], list[Song]] = {}
    for song in songs:
        namesakes.setdefault((song.name, song.prepared.chunk if song.prepared else None), []).append(song)
    return [_only(same_name) for same_name in namesakes.values()]


def _file_song(path: Path, folder: Path | None = None) -> Song:
    if not os.path.lexists(path):
        return Song(str(path), None, error=f"{path}: no such file or folder")
    return Song(path.relative_to(folder or path.parent).with_suffix("").as_posix(), AudioStream(path))


def _only(namesakes: list[Song]) -> Song:
    song, paths = namesakes[0], sorted({str(song.path) for song in namesakes})
    if len(namesakes) == 1 or len({real_path(Path(path)) for path in paths}) == 1:
        return song
    return replace(song, error=f"{' and '.join(paths)}: would be written to one folder, {song.name}; rename one")


def _folder_songs(folder: Path) -> list[Song]:
    """The audio files below a folder, and what keeps it, or a folder in it, from being searched."""
    unreadable: list[OSError] = []
    songs = [_file_song(path, folder) for path in FileSearch(folder, unreadable.append).audio()]
    errors = {str(error.filename): f"can't be read ({error.strerror})" for error in unreadable}
    if not songs and not errors:
        errors[str(folder)] = "holds no file with a suffix of audio; a file that is named itself may have any suffix"
    return [*songs, *(Song(path, None, error=f"{path}: {reason}") for path, reason in errors.items())]
