"""Where songs come from: folders of stems, the built-in clip, plain audio files. Nothing is decoded here."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import as_file
from pathlib import Path

from mdx_progressive.data.audio import AUDIO_SUFFIXES, AudioStream
from mdx_progressive.errors import MdxError
from mdx_progressive.wheel_data import wheel_data

log = logging.getLogger(__name__)

MIXTURE_NAMES = frozenset({"mixture", "mix"})
"""Files of a song folder with these names are its mixture, all others are stems."""


@dataclass(frozen=True)
class Song:
    """A song on disk.

    Args:
        name: Name in tables and of its output folder; may hold slashes where it lies in a sub-folder.
        mixture: The mixture as shipped, if there is one.
        stems: Its stems by name; none for a plain audio file.
    """

    name: str
    mixture: AudioStream | None
    stems: dict[str, AudioStream] = field(default_factory=dict)

    @property
    def stamp(self) -> str:
        """Another one when a file of the song has been changed, as its size and date tell."""
        streams = [*([self.mixture] if self.mixture else []), *self.stems.values()]
        facts = []
        for path in dict.fromkeys(stream.path for stream in streams):
            with suppress(OSError):  # It is read soon, and that tells more.
                known = path.stat()
                facts.append((path.name, known.st_size, known.st_mtime_ns))
        return sha256(repr(facts).encode()).hexdigest()[:16]

    @property
    def place(self) -> Path:
        """File or folder to name in a message."""
        if self.stems:
            return next(iter(self.stems.values())).path.parent
        return self.mixture.path if self.mixture else Path(self.name)


def builtin_clip() -> Song:
    """The 6 s excerpt of MUSDB18's test set in the `stempeg` wheel: The Easton Ellises, Falcon 69.

    Its five AAC streams are the mixture, drums, bass, other and vocals; mixture and sum of the stems differ
    by 15 dB.

    Raises:
        MdxError: If the wheel or its clip is missing.
    """
    with as_file(wheel_data("stempeg", "data", "The Easton Ellises - Falcon 69.stem.mp4")) as path:
        stems = {name: AudioStream(path, stream) for stream, name in enumerate(("drums", "bass", "other", "vocals"), 1)}
        return Song("The Easton Ellises - Falcon 69", AudioStream(path), stems)


def song_folders(root: Path) -> list[Song]:
    """Every folder below `root` that holds a song, one audio file a stem; or `root` itself, if it is one.

    Raises:
        MdxError: If `root` is no folder, holds no song, or a stem stands in a folder twice.
    """
    if not root.is_dir():
        raise MdxError(f"{root}: no such folder (a folder of songs, each a folder with one audio file per stem)")
    folders = [
        folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith((".", "_"))
    ]
    found = {folder: _song(folder) for folder in folders}
    for folder in (folder for folder, song in found.items() if song is None):
        log.warning("%s: left out, it holds no audio file", folder)
    songs = [song for song in found.values() if song is not None]
    if not songs:
        alone = _song(root)
        if alone is None:
            raise MdxError(
                f"{root}: holds no song (expected {root / '<song>' / '<stem>'}.wav, .flac, .ogg, .mp3 or .m4a)"
            )
        return [alone]
    return songs


def _song(folder: Path) -> Song | None:
    mixture: AudioStream | None = None
    stems: dict[str, AudioStream] = {}
    for path in _audio_files_of(folder):
        name = path.stem.lower()
        twin = mixture if name in MIXTURE_NAMES else stems.get(name)
        if twin is not None:
            raise MdxError(f"{folder}: {twin.path.name} and {path.name} are the same stem; keep one of them")
        if name in MIXTURE_NAMES:
            mixture = AudioStream(path)
        else:
            stems[name] = AudioStream(path)
    if not stems:
        if mixture is None:
            return None
        raise MdxError(f"{folder}: holds a mixture but no stem")
    return Song(folder.name, mixture, stems)


def audio_files(inputs: Iterable[Path]) -> list[Song]:
    """The given files, and all audio files below the given folders.

    A song is called as its file without the suffix, within a folder by its path from there.

    Raises:
        MdxError: If a path does not exist, a folder holds no audio, or two files have one name.
    """
    songs: dict[str, Song] = {}
    for given in inputs:
        if given.is_dir():
            found = [path for path in sorted(given.rglob("*")) if _is_audio(path)]
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


def _audio_files_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _is_audio(path)]


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()
