"""Folders of songs: one audio file per stem, or any multitrack with patterns that sort its files into stems."""

import logging
import os
from fnmatch import fnmatchcase
from pathlib import Path

from mdx_progressive.audio import AudioStream, Signal, StreamSum
from mdx_progressive.data.datasets.base import SongDataset
from mdx_progressive.data.file_search import FileSearch, is_audio, is_no_song, tell_left_out
from mdx_progressive.data.song import Song
from mdx_progressive.runtime import MdxError, real_path, text_name, warn_once

log = logging.getLogger(__name__)

MIXTURE = "mixture"
MIXTURE_NAMES = (MIXTURE, "mix")
"""Names of the file that is a song's mixture; all others are stems."""
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
    path below the song's folder without the suffix, and ignores case: `drums/*` is everything in a folder drums,
    `*kick*` also 01_Kick.wav.

    Args:
        root: The folder.
        stems: Patterns for each stem; "mixture" may be one. A song need not have all of them. A file that fits none
            is named and left out.

    Raises:
        MdxError: If a stem has no pattern.
    """

    def __init__(self, root: str | Path, stems: dict[str, list[str]] | None = None) -> None:
        self.root = Path(root)
        self.stems = stems
        for stem, patterns in (stems or {}).items():
            if not patterns:
                raise MdxError(f"dataset.stems.{stem} needs a pattern, e.g. ['*{stem}*']; or leave the stem out")

    def songs(self) -> list[Song]:
        root = self.root
        if not root.is_dir():
            raise MdxError(f"{root}: no such folder (a folder of songs, each a folder with one audio file per stem)")
        found = [path for path in sorted(root.iterdir()) if path.is_dir()]
        tell_left_out(root, [path.name for path in found if is_no_song(path.name)])
        folders = [path for path in found if not is_no_song(path.name)]
        files = {folder: self._files(folder) for folder in folders}
        if not any(files.values()):
            files = {root: self._files(root)}
            if not files[root]:
                raise MdxError(
                    f"{root}: holds no song (expected {root / '<song>' / '<stem>'}.wav, .flac, .ogg, .mp3 or .m4a)"
                )
        songs = []
        for folder, paths in files.items():
            if paths:
                songs.append(self._song(folder, paths))
            elif not os.access(folder, os.R_OK | os.X_OK):
                songs.append(Song(folder.name, None, error=f"{folder}: can't be read (no permission)"))
            else:
                warn_once(log, "%s: left out, it holds no audio file", folder)
        return songs

    def _files(self, folder: Path) -> list[Path]:
        """The audio files of a song; those in its folders too, where patterns sort them."""
        if self.stems is not None:
            return FileSearch(folder).audio()
        return [path for path in sorted(folder.glob("*")) if is_audio(path) and not is_no_song(path.name)]

    def _song(self, folder: Path, files: list[Path]) -> Song:
        name = folder.name or real_path(folder).name  # It may be called `.`.
        if self.stems is None:
            paths, hint = _by_name(files), _RENAME
            if twins := next((same_name for same_name in paths.values() if len(same_name) > 1), None):
                both = " and ".join(path.name for path in twins)
                return Song(name, None, error=f"{folder}: {both} are the same stem; keep one of them")
        else:
            paths, hint = _by_pattern(folder, files, self.stems), _ADD_PATTERN
        streams = {stem: tuple(map(AudioStream, stem_paths)) for stem, stem_paths in paths.items()}
        signals: dict[str, Signal] = {
            stem: parts[0] if len(parts) == 1 else StreamSum(parts) for stem, parts in streams.items()
        }
        mixture = signals.pop(MIXTURE, None)
        if not signals:
            reason = "holds a mixture but no stem" if mixture else "none of its files fits a pattern of dataset.stems"
            return Song(name, mixture, error=f"{folder}: {reason}")
        return Song(name, mixture, signals, hint=hint)


def _by_name(files: list[Path]) -> dict[str, list[Path]]:
    """The files of each stem; several of one differ in their suffix, or in upper and lower case."""
    paths: dict[str, list[Path]] = {}
    for path in files:
        name = text_name(path.stem.lower())
        paths.setdefault(MIXTURE if name in MIXTURE_NAMES else name, []).append(path)
    return paths


def _by_pattern(folder: Path, files: list[Path], stems: dict[str, list[str]]) -> dict[str, list[Path]]:
    """The files of each stem that has any, in the order of `stems`."""
    patterns = {MIXTURE: list(MIXTURE_NAMES), **stems}
    paths: dict[str, list[Path]] = {stem: [] for stem in patterns}
    unsorted: list[Path] = []
    for path in files:
        name = path.relative_to(folder).with_suffix("").as_posix().lower()
        matches = (stem for stem in patterns if any(fnmatchcase(name, pattern.lower()) for pattern in patterns[stem]))
        paths.get(next(matches, ""), unsorted).append(path)
    if unsorted:
        names = ", ".join(path.relative_to(folder).as_posix() for path in unsorted)
        warn_once(log, "%s: left out, no pattern of dataset.stems fits: %s", folder, names)
    return {stem: stem_paths for stem, stem_paths in paths.items() if stem_paths}


def choose_dataset(dataset: SongDataset | None, root: str | Path | None) -> SongDataset:
    """The data set of the options: `root` is short for `SongFolders` of it.

    Raises:
        MdxError: If both are given, or neither.
    """
    if dataset is not None and root is not None:
        raise MdxError("data.root and data.dataset both say where the songs are: give one of them")
    if root is not None:
        return SongFolders(root)
    if dataset is None:
        raise MdxError(
            "no songs: set data.root to a folder of songs with stems (<song>/vocals.wav, drums.wav, …), or data.dataset"
            " to a data set, such as BuiltinClip, the 6 s that come with the package"
        )
    return dataset
