"""The files of stems: their names by a pattern, which of them exist, and which are found again as songs."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from string import Formatter
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

from mdx_progressive.data import Song
from mdx_progressive.output.provenance import read_provenance
from mdx_progressive.runtime import RESUME_HINT, MdxError, disk_name, real_path, safe_names

_KEYS = ("song", "source", "separator", "method")
_RESERVE = 1 << 20
"""Bytes that the folder has to take, or the other songs are not tried."""


def check_pattern(pattern: str) -> None:
    """Refuse a pattern of names that can't be used.

    Raises:
        MdxError: If it has an unknown key, does not tell stems apart, or leads out of the folder.
    """
    try:
        keys = [key for _, key, _, _ in Formatter().parse(pattern) if key is not None]
    except ValueError as error:
        raise MdxError(f"writer.name: {pattern!r} can't be read ({error})") from error
    if unknown := [key for key in keys if key not in _KEYS]:
        raise MdxError(f"writer.name: {{{unknown[0]}}} is not known; {', '.join(_KEYS)} are")
    if "source" not in keys:
        raise MdxError(f"writer.name: {pattern!r} has no {{source}}, and all estimates of a song would be one file")
    path = PurePosixPath(pattern.replace("\\", "/"))
    if path.is_absolute() or pattern[1:2] == ":" or any(part.startswith(".") for part in path.parts):
        raise MdxError(f"writer.name: {pattern!r} leads out of the folder, or to a hidden file")


class StemPaths(NamedTuple):
    """The files that a run writes below a folder.

    Args:
        out: The folder.
        pattern: Their names without suffix; has the keys song, source, separator and method in braces.
        suffix: Their suffix, without the dot.
        stems: Names of the stems of a song.
        separator: Name of the separator.
        method: Name of the method.
        overwrite: Whether files that exist are written again.
    """

    out: Path
    pattern: str
    suffix: str
    stems: Sequence[str]
    separator: str
    method: str
    overwrite: bool

    def files(self, song: str) -> list[Path]:
        """The files of a song, in the order of the stems."""
        method = safe_names([self.method])[self.method]
        facts = {"song": song, "separator": self.separator, "method": method}
        return [self.out / f"{self.pattern.format(**facts, source=stem)}.{self.suffix}" for stem in self.stems]

    def missing(self, song: str) -> dict[int, Path]:
        """The files of a song that are to be written, by the number of the stem."""
        files = enumerate(self.files(song))
        return {number: path for number, path in files if self.overwrite or not os.path.isfile(path)}

    def existing(self, song: str) -> list[Path]:
        """The files of a song that are to be kept."""
        return [] if self.overwrite else [path for path in self.files(song) if os.path.isfile(path)]

    def reserved(self, song: str) -> set[Path]:
        """Its files, and the folder that holds its blocks meanwhile."""
        return {self.out / song, *self.files(song)}

    def check_distinct(self, songs: Iterable[str]) -> None:
        """Raise MdxError if the pattern gives one file to two estimates."""
        users: dict[Path, str] = {}
        for song in songs:
            for path in self.files(song):
                if path in users:
                    raise MdxError(f"writer.name: {path} would be two estimates, of {users[path]} and of {song}")
                users[path] = song

    def check_distinct_on_disk(self, songs: Iterable[str]) -> None:
        """Raise MdxError if the disk takes the files of two songs for one; the folder is there."""
        users: dict[str, Path] = {}
        for song in songs:
            for path in self.files(song):
                other = users.setdefault(disk_name(str(path)), path)
                if other != path and self._are_one(other, path):
                    raise MdxError(
                        f"{self.out}: its disk takes {other.relative_to(self.out)} and {path.relative_to(self.out)} for"
                        " one file: rename one of the songs, or set --out to another disk"
                    )

    def _are_one(self, *paths: Path) -> bool:
        with TemporaryDirectory(dir=self.out, prefix=".names-") as folder:
            first, second = (Path(folder) / path.relative_to(self.out) for path in paths)
            first.parent.mkdir(parents=True)
            first.touch()
            return os.path.exists(second)

    def check_writable(self) -> None:
        """Create the folder; raises MdxError if it takes no more files."""
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise MdxError(f"{self.out}: is no folder, or is within a file: set --out to another one") from error
        except OSError as error:
            raise MdxError(f"{self.out}: can't be created ({error.strerror})") from error
        try:
            with TemporaryFile(dir=self.out) as file:
                file.write(bytes(_RESERVE))
                file.flush()
        except OSError as error:
            raise MdxError(
                f"{self.out}: nothing more can be written there ({error.strerror}); {RESUME_HINT}"
            ) from error

    def own_estimates(self, songs: Iterable[Song], inputs: Sequence[Path]) -> set[str]:
        """Names of the songs that are estimates: below `out` in a folder that was searched, or written by a run.

        Args:
            songs: The songs that were found.
            inputs: The files and folders that were given. A file that was given itself is a song.
        """
        out, given = real_path(self.out), {real_path(path) for path in inputs}
        files = {song.name: real_path(song.path) for song in songs}
        # A link in the place of a stem is replaced: it makes no estimate of the song that it points to.
        written = {real_path(path.parent) / path.name for name in files for path in self.files(name)}
        searched = not given.isdisjoint(out.parents)
        return {
            name
            for name, path in files.items()
            if path not in given
            and (path in written or (searched and out in path.parents) or read_provenance(path) is not None)
        }
