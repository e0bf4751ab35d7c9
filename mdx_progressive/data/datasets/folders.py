"""Folders of songs: one audio file a stem, or any multitrack with patterns that say what belongs to which stem."""

import logging
import os
from fnmatch import fnmatchcase
from pathlib import Path

from mdx_progressive.audio import AudioStream, Signal, StreamSum
from mdx_progressive.data.datasets.base import BuiltinClip, SongDataset
from mdx_progressive.data.song import Song, is_audio
from mdx_progressive.runtime import MdxError, warn_once

log = logging.getLogger(__name__)
"""All processes of a run find the same."""

MIXTURE = "mixture"
MIXTURE_NAMES = (MIXTURE, "mix")
"""Files of a song folder with these names are its mixture, all others are stems."""
_RENAME = (
    "name the file that holds it after the source, or say which files belong to which source with --data.dataset"
    " songs.yaml (`stems:` in it, see configs/dataset/multitrack.yaml)"
)
_ADD_PATTERN = "give the source a pattern in dataset.stems that fits its files"


class SongFolders(SongDataset):
    """A folder of songs, each a folder; or one that is itself a song.

    Without `stems` each audio file of a song is the stem of its name (drums.wav, bass.flac, ...), and a file called
    mixture or mix is the mixture. With `stems` the files of a song and of the folders in it are sorted by patterns,
    the first that fits, and those of one stem are summed. A pattern is that of a shell (`*`, `?`, `[ab]`), fits the
    path below the song's folder without the suffix, and ignores case: `drums/*` is all that lies in a folder drums,
    `*kick*` also 01_Kick.wav.

    Args:
        root: The folder.
        stems: Patterns for each stem; "mixture" may be one. A song need not have all of them. A file that fits none
            is named and left out.

    Raises:
        MdxError: If a stem has no pattern.
    """

    def __init__(self, root: Path, stems: dict[str, list[str]] | None = None) -> None:
        self.root = root
        self.stems = stems
        for stem, patterns in (stems or {}).items():
            if not patterns:
                raise MdxError(f"dataset.stems.{stem} needs a pattern, e.g. ['*{stem}*']; or leave the stem out")

    def songs(self) -> list[Song]:
        root = self.root
        if not root.is_dir():
            raise MdxError(f"{root}: no such folder (a folder of songs, each a folder with one audio file per stem)")
        folders = [
            folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith((".", "_"))
        ]
        found = {folder: self._files(folder) for folder in folders}
        if not any(found.values()):
            found = {root: self._files(root)}
            if not found[root]:
                raise MdxError(
                    f"{root}: holds no song (expected {root / '<song>' / '<stem>'}.wav, .flac, .ogg, .mp3 or .m4a)"
                )
        songs = []
        for folder, files in found.items():
            if files:
                songs.append(self._song(folder, files))
            elif not os.access(folder, os.R_OK | os.X_OK):
                songs.append(Song(folder.name, None, error=f"{folder}: can't be read (no permission)"))
            else:
                warn_once(log, "%s: left out, it holds no audio file", folder)
        return songs

    def _files(self, folder: Path) -> list[Path]:
        """The audio files of a song; those in its folders too, where patterns say what they are."""
        return [path for path in sorted(folder.glob("*" if self.stems is None else "**/*")) if is_audio(path)]

    def _song(self, folder: Path, files: list[Path]) -> Song:
        sorted_in = _by_name(files) if self.stems is None else _by_pattern(folder, files, self.stems)
        twins = next((paths for paths in sorted_in.values() if len(paths) > 1), None)
        if twins and self.stems is None:
            both = " and ".join(path.name for path in twins)
            return Song(folder.name, None, error=f"{folder}: {both} are the same stem; keep one of them")
        signals = {stem: _signal(paths) for stem, paths in sorted_in.items()}
        mixture = signals.pop(MIXTURE, None)
        if not signals:
            reason = "holds a mixture but no stem" if mixture else "none of its files fits a pattern of dataset.stems"
            return Song(folder.name, mixture, error=f"{folder}: {reason}")
        return Song(folder.name, mixture, signals, hint=_RENAME if self.stems is None else _ADD_PATTERN)


def _by_name(files: list[Path]) -> dict[str, list[Path]]:
    """The files of each stem; more than one differ in their suffix, or in upper and lower case."""
    found: dict[str, list[Path]] = {}
    for path in files:
        name = path.stem.lower()
        found.setdefault(MIXTURE if name in MIXTURE_NAMES else name, []).append(path)
    return found


def _by_pattern(folder: Path, files: list[Path], stems: dict[str, list[str]]) -> dict[str, list[Path]]:
    """The files of each stem that has any, in the order of `stems`."""
    patterns = {MIXTURE: list(MIXTURE_NAMES), **stems}
    found: dict[str, list[Path]] = {stem: [] for stem in patterns}
    unknown: list[Path] = []
    for path in files:
        below = path.relative_to(folder)
        name = below.with_suffix("").as_posix().lower()
        fitting = (stem for stem, of_stem in patterns.items() if any(fnmatchcase(name, one.lower()) for one in of_stem))
        found.get(next(fitting, ""), unknown).append(path)
    if unknown:
        listed = ", ".join(path.relative_to(folder).as_posix() for path in unknown)
        warn_once(log, "%s: left out, no pattern of dataset.stems fits: %s", folder, listed)
    return {stem: paths for stem, paths in found.items() if paths}


def _signal(paths: list[Path]) -> Signal:
    streams = tuple(AudioStream(path) for path in paths)
    return streams[0] if len(streams) == 1 else StreamSum(streams)


def dataset_of(dataset: SongDataset | None, root: Path | None) -> SongDataset:
    """The set that is meant: `root` is short for `SongFolders` of it; the built-in clip without either.

    Raises:
        MdxError: If both are given.
    """
    if dataset is not None and root is not None:
        raise MdxError("data.root and data.dataset both say where the songs are: give one of them")
    if root is not None:
        return SongFolders(root)
    return dataset or BuiltinClip()
