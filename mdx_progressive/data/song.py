"""Songs on disk: the built-in clip, plain audio files. Nothing is decoded here."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from importlib.resources import as_file
from pathlib import Path

from mdx_progressive.audio import AUDIO_SUFFIXES, AudioStream, Signal
from mdx_progressive.runtime import ChangedError, MdxError, package_file


@dataclass(frozen=True)
class PreparedCut:
    """The place within the whole song that a song which is cut already was taken from.

    Args:
        chunk: Number of the chunk within the whole song.
        length: Its length in samples.
        sample_rate: Its sample rate in Hz.
        channels: Number of channels.
    """

    chunk: int
    length: int
    sample_rate: int
    channels: int


@dataclass(frozen=True)
class Song:
    """A song on disk.

    One whose name leads out of the output folder can't be used.

    Args:
        name: Name in tables and of its output folder; may hold slashes where it lies in a sub-folder.
        mixture: The mixture as shipped, if there is one.
        stems: Its stems by name; none for a plain audio file.
        cut: What it is a chunk of, if it was cut before.
        error: Why it can't be used, if that is known before anything is read.
        hint: What a user can do about it where it lacks a stem.
    """

    name: str
    mixture: Signal | None
    stems: dict[str, Signal] = field(default_factory=dict)
    cut: PreparedCut | None = None
    error: str | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        folder = Path(self.name)
        if self.error is None and (folder.anchor or not folder.parts or ".." in folder.parts or "\0" in self.name):
            reason = f"{self.place}: its name, {self.name!r}, leads out of the output folder; rename it"
            object.__setattr__(self, "error", reason)

    @property
    def streams(self) -> list[AudioStream]:
        """All that belongs to it, the mixture first."""
        signals = [*([self.mixture] if self.mixture else []), *self.stems.values()]
        return [stream for signal in signals for stream in signal.streams]

    @property
    def stamp(self) -> str:
        """Another one when a file of the song has been changed before the run, as its size and date tell."""
        facts = [(path.name, *known) for path, known in self._first_seen.items()]
        return sha256(repr(facts).encode()).hexdigest()[:16]

    @cached_property
    def _first_seen(self) -> dict[Path, tuple[int, int]]:
        return self._seen()

    def _seen(self) -> dict[Path, tuple[int, int]]:
        """Size and date of its files."""
        facts = {}
        for path in dict.fromkeys(stream.path for stream in self.streams):
            with suppress(OSError):  # It is read soon, and that tells more.
                known = path.stat()
                facts[path] = known.st_size, known.st_mtime_ns
        return facts

    @property
    def place(self) -> Path:
        """File or folder to name in a message."""
        paths = [stream.path for stream in self.streams]
        return Path(os.path.commonpath(paths)) if paths else Path(self.name)

    def as_separate_song(self) -> "Song":
        """Itself, a chunk with its number in its name: several chunks of a song have the name of the song."""
        return replace(self, name=f"{self.name}/{self.cut.chunk}") if self.cut else self

    def check(self) -> None:
        """See that nothing is known against it, before and after it is read.

        Raises:
            MdxError: If something is, or one of its files is another one than at the first time.
        """
        if self.error is not None:
            raise MdxError(self.error)
        for path, facts in self._seen().items():
            if self._first_seen.get(path, facts) != facts:
                raise ChangedError(f"{path}: was changed while it was in use; what was made of it so far is not kept")


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
    """The given files, and all audio files below the given folders; what can't be used is a song with a fault.

    A song is called as its file without the suffix, within a folder by its path from there. Of several files with one
    name none is used: whose estimates would be found there could not be told.
    """
    found = [song for given in inputs for song in (_below(given) if os.path.isdir(given) else [_plain(given)])]
    namesakes: dict[str, list[Song]] = {}
    for song in found:
        namesakes.setdefault(song.name, []).append(song)
    return [_only(songs) for songs in namesakes.values()]


def _plain(path: Path, folder: Path | None = None) -> Song:
    if not os.path.lexists(path):
        return Song(str(path), None, error=f"{path}: no such file or folder")
    return Song(path.relative_to(folder or path.parent).with_suffix("").as_posix(), AudioStream(path))


def _only(namesakes: list[Song]) -> Song:
    song, places = namesakes[0], sorted({str(song.place) for song in namesakes})
    if len({os.path.realpath(place) for place in places}) == 1:
        return song
    return replace(song, error=f"{' and '.join(places)}: would be written to one folder, {song.name}; rename one")


def _below(folder: Path) -> list[Song]:
    """The audio files below a folder, and what keeps it, or one in it, from being searched."""
    unreadable: list[OSError] = []
    found: list[Song] = []
    for place, folders, files in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        found += [_plain(path, folder) for path in (Path(place, file) for file in sorted(files)) if is_audio(path)]
    faults = {str(error.filename): f"can't be read ({error.strerror})" for error in unreadable}
    if not found and not faults:
        faults[str(folder)] = "holds no audio file that is called like one; what is given itself may be called anything"
    return [*found, *(Song(place, None, error=f"{place}: {reason}") for place, reason in faults.items())]


def is_audio(path: Path) -> bool:
    """Whether a path is a file that a search for audio takes in."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and not os.path.isdir(path)
