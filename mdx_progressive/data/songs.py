"""Songs on disk: the built-in clip, plain audio files. Nothing is decoded here."""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from importlib.resources import as_file
from pathlib import Path

from mdx_progressive.data.audio import AUDIO_SUFFIXES, AudioStream, Signal
from mdx_progressive.errors import MdxError
from mdx_progressive.wheel_data import wheel_data


@dataclass(frozen=True)
class Cut:
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

    Args:
        name: Name in tables and of its output folder; may hold slashes where it lies in a sub-folder.
        mixture: The mixture as shipped, if there is one.
        stems: Its stems by name; none for a plain audio file.
        cut: What it is a chunk of, if it was cut before.
        fault: Why it can't be used, if that is known before anything is read.
    """

    name: str
    mixture: Signal | None
    stems: dict[str, Signal] = field(default_factory=dict)
    cut: Cut | None = None
    fault: str | None = None

    @property
    def streams(self) -> list[AudioStream]:
        """All that belongs to it, the mixture first."""
        signals = [*([self.mixture] if self.mixture else []), *self.stems.values()]
        return [stream for signal in signals for stream in signal.streams]

    @property
    def stamp(self) -> str:
        """Another one when a file of the song has been changed, as its size and date tell."""
        facts = []
        for path in dict.fromkeys(stream.path for stream in self.streams):
            with suppress(OSError):  # It is read soon, and that tells more.
                known = path.stat()
                facts.append((path.name, known.st_size, known.st_mtime_ns))
        return sha256(repr(facts).encode()).hexdigest()[:16]

    @property
    def place(self) -> Path:
        """File or folder to name in a message."""
        paths = [stream.path for stream in self.streams]
        return Path(os.path.commonpath(paths)) if paths else Path(self.name)

    def apart(self) -> "Song":
        """Itself, a chunk with its number in its name: several chunks of a song have the name of the song."""
        return replace(self, name=f"{self.name}/{self.cut.chunk}") if self.cut else self

    def check(self) -> None:
        """See that nothing is known against it.

        Raises:
            MdxError: If something is.
        """
        if self.fault is not None:
            raise MdxError(self.fault)


def builtin_clip() -> Song:
    """The 6 s excerpt of MUSDB18's test set in the `stempeg` wheel: The Easton Ellises, Falcon 69.

    Its five AAC streams are the mixture, drums, bass, other and vocals; mixture and sum of the stems differ
    by 15 dB.

    Raises:
        MdxError: If the wheel or its clip is missing.
    """
    with as_file(wheel_data("stempeg", "data", "The Easton Ellises - Falcon 69.stem.mp4")) as path:
        names = ("drums", "bass", "other", "vocals")
        stems: dict[str, Signal] = {name: AudioStream(path, stream) for stream, name in enumerate(names, 1)}
        return Song("The Easton Ellises - Falcon 69", AudioStream(path), stems)


def audio_files(inputs: Iterable[Path]) -> list[Song]:
    """The given files, and all audio files below the given folders.

    A song is called as its file without the suffix, within a folder by its path from there.

    Raises:
        MdxError: If a path does not exist, a folder holds no audio, or two files have one name.
    """
    songs: dict[str, Song] = {}
    for given in inputs:
        if given.is_dir():
            found = [path for path in sorted(given.rglob("*")) if is_audio(path)]
            if not found:
                raise MdxError(f"{given}: holds no audio file ({', '.join(sorted(AUDIO_SUFFIXES))})")
            named = [(path.relative_to(given).with_suffix("").as_posix(), path) for path in found]
        elif given.is_file():
            named = [(given.stem, given)]
        else:
            raise MdxError(f"{given}: no such file or folder")
        for name, path in named:
            if name in songs:
                raise MdxError(f"{songs[name].place} and {path} would be written to one folder, {name}; rename one")
            songs[name] = Song(name, AudioStream(path))
    return list(songs.values())


def is_audio(path: Path) -> bool:
    """Whether a path is a file that a search for audio takes in."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()
