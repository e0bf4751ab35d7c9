"""Blocks of songs that are not complete yet, in hidden folders beside the stems, for an interrupted run to resume.

There is no journal of them: a block is a large file that is written atomically in a folder named by its fingerprint,
so that its presence says all that an entry would, and nothing can contradict it.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from mdx_progressive.output.block_store import BlockStore

_BLOCKS = ".blocks-"
_LOCK = ".lock"


class PartialSongs:
    """The blocks of the songs of a run.

    Args:
        out: The folder that is written to.
        settings: What decides on the estimates; None where no other run is to use the blocks.
        fingerprints: By the name of a song, what changes with its files.
        shared: Whether other processes are working on the same songs.
    """

    def __init__(self, out: Path, settings: str | None, fingerprints: Mapping[str, str], shared: bool) -> None:
        self.out = out
        self.resumable = settings is not None
        self.shared = shared
        self._folders = {
            song: f"{_BLOCKS}{sha256(f'{settings} {fingerprint}'.encode()).hexdigest()[:16]}"
            for song, fingerprint in fingerprints.items()
        }

    def blocks(self, song: str) -> BlockStore:
        """The blocks of a song."""
        return BlockStore(self.out / song / self._folders.get(song, _BLOCKS))

    def lock(self, song: str) -> AbstractContextManager[object]:
        """Keep other processes from joining the song: its last two blocks may be finished at once."""
        folder = self.blocks(song).folder
        return FileLock(folder.with_name(_LOCK)) if self.shared and folder.exists() else nullcontext()

    def clear(self, songs: Iterable[str], keep: bool) -> None:
        """Remove the blocks of other settings, or all, and the folders that are empty then.

        Args:
            songs: The songs, with those that are finished, without those of another run.
            keep: Whether blocks of these settings stay.
        """
        for song in songs:
            for folder in (self.out / song).glob(f"{_BLOCKS}*"):
                if not keep or not self.resumable or folder != self.blocks(song).folder:
                    BlockStore(folder).remove()
            self._tidy(song)

    def remove(self, songs: Iterable[str]) -> None:
        """Remove the blocks of songs, as far as they are among those of the run."""
        for song in self._folders.keys() & set(songs):
            self.blocks(song).remove()

    def unlock(self, songs: Iterable[str] | None = None) -> None:
        """Remove the locks, and the folders that are empty then.

        Args:
            songs: The songs that no process is at any more; by default all.
        """
        for song in self._folders if songs is None else songs:
            self._tidy(song)

    def _tidy(self, song: str) -> None:
        """With a pattern of its own names, or of a song that could not be read, nothing else was in its folder."""
        folder = self.out / song
        with suppress(NotADirectoryError):  # Writing the song raises it again.
            (folder / _LOCK).unlink(missing_ok=True)
        with suppress(OSError):
            while folder != self.out:
                os.rmdir(folder)
                folder = folder.parent
