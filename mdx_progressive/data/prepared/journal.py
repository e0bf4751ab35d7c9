"""What `prepare` has written of a song so far, for the same command to resume after an interruption."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mdx_progressive.data.prepared.index import PreparedSong, StoredChunk
from mdx_progressive.runtime import Entry, Journal, check_type

_BEGIN, _END = -2, -1
"""Keys of the entries that are no chunks."""


class SongJournal:
    """The journal of one song, which one process writes: its begin, each chunk with its files, its end.

    Args:
        path: The file.
        song: Name of the song.
        fingerprint: What changes with the song's files: entries with others don't count; None counts them all.
    """

    def __init__(self, path: Path, song: str, fingerprint: str | None = None) -> None:
        self.path = path
        self.song = song
        self.fingerprint = fingerprint
        self._journal = Journal(path, _key)

    def mend(self) -> None:
        """Set it aside if it holds what no version has written, and keep what is of use."""
        self._journal.mend()

    @property
    def outdated(self) -> bool:
        """Whether something was written of other files."""
        return bool(self._latest()[1])

    def chunks(self) -> dict[int, StoredChunk]:
        """The chunks that are written, by number."""
        current, _ = self._latest()
        return {
            number: StoredChunk.from_json(entry.read()["stored"]) for number, entry in current.items() if number >= 0
        }

    def ended(self) -> PreparedSong | None:
        """The song, if all its chunks are written."""
        current, _ = self._latest()
        if _END not in current:
            return None
        end = current[_END].read()
        return PreparedSong(self.song, list(self.chunks().values()), end["differences"], end["stamp"])

    def begin(self) -> None:
        """Note that chunks are going to be written."""
        self._journal.append(self.fingerprint, {})

    def add(self, chunk: StoredChunk) -> None:
        """Note that a chunk is written."""
        self._journal.append(self.fingerprint, {"stored": asdict(chunk)})

    def end(self, differences: list[str]) -> None:
        """Note that there are no more chunks."""
        self._journal.append(self.fingerprint, {"differences": differences})

    def _latest(self) -> tuple[dict[int, Entry], set[int]]:
        return self._journal.latest(lambda fingerprint, _: self.fingerprint in (None, fingerprint))


def _key(entry: dict[str, Any]) -> int:
    if "stored" in entry:
        return StoredChunk.from_json(entry["stored"]).chunk
    if "differences" in entry:
        check_type(entry["differences"], list[str])
        return _END
    return _BEGIN
