"""Blocks of songs that are not complete yet, in hidden folders beside the stems."""

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from hashlib import sha256
from pathlib import Path

from filelock import FileLock

from mdx_progressive.output.block_store import BlockStore

_PARTS = ".blocks-"
_LOCK = ".lock"


class KeptBlocks:
    """What a run that breaks off leaves of its songs for the same command to go on with.

    Args:
        out: The folder that is written to.
        settings: What decides on the estimates.
        songs: Each song with what changes with its files (see `Song.fingerprint`).
    """

    def __init__(self, out: Path, settings: str | None, songs: Mapping[str, str]) -> None:
        self.out = out
        self._stamps = {song: sha256(f"{settings} {stamp}".encode()).hexdigest()[:16] for song, stamp in songs.items()}

    def of(self, song: str) -> BlockStore:
        """The blocks of a song."""
        return BlockStore(self.out / song / f"{_PARTS}{self._stamps.get(song, '')}")

    def lock(self, song: str) -> AbstractContextManager[object]:
        """Keeps the other processes of a run from joining the song; the last of its blocks may be done at once."""
        parts = self.of(song).folder
        return FileLock(parts.with_name(_LOCK)) if parts.exists() else nullcontext()

    def clear(self, songs: Iterable[str], keep: bool) -> None:
        """Remove the blocks that other settings have left, or all, and what a process that was killed has left.

        Args:
            songs: The songs, those that are finished among them, and none that another run is at.
            keep: Whether blocks of these settings stay.
        """
        for song in songs:
            folder = self.out / song
            for parts in folder.glob(f"{_PARTS}*"):
                if not keep or parts != self.of(song).folder:
                    BlockStore(parts).remove()
            for part in folder.glob(".*.part"):
                part.unlink(missing_ok=True)
        self._unlock(songs)

    def remove(self, song: str) -> None:
        """Remove the blocks of a song, if it is one of those that were given."""
        if song in self._stamps:
            self.of(song).remove()

    def unlock(self) -> None:
        """Remove the locks, and with them the folders that hold nothing."""
        self._unlock(self._stamps)

    def _unlock(self, songs: Iterable[str]) -> None:
        for song in songs:
            with suppress(NotADirectoryError):  # It is told when the song is to be written.
                (self.out / song / _LOCK).unlink(missing_ok=True)
            self._remove_empty(self.out / song)

    def _remove_empty(self, folder: Path) -> None:
        """With a pattern of its own names, or of a song that could not be read, nothing else was in there."""
        with suppress(OSError):
            while folder != self.out:
                os.rmdir(folder)
                folder = folder.parent
