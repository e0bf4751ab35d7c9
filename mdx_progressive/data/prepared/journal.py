"""The journal of a song while `prepare` works on it: a line for each chunk, so that a killed run can be resumed."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mdx_progressive.data.prepared.index import PreparedSong, StoredChunk
from mdx_progressive.runtime import Journal


class SongJournal:
    """The lines of one song, which one process writes.

    Args:
        path: The file.
        song: Name of the song.
        stamp: The fingerprint of the song's files (see `Song.fingerprint`): lines with another one don't count;
            None for all lines.
    """

    def __init__(self, path: Path, song: str, stamp: str | None = None) -> None:
        self.path = path
        self.song = song
        self.stamp = stamp
        self._lines = Journal(path)

    @property
    def outdated(self) -> bool:
        """Whether there are lines that don't count."""
        return sum(1 for _ in self._rows()) < sum(1 for _ in self._lines.rows())

    def chunks(self) -> dict[int, StoredChunk]:
        """The chunks that are written, by number."""
        chunks = [StoredChunk.from_json(row["stored"]) for row in self._rows() if "stored" in row]
        return {chunk.chunk: chunk for chunk in chunks}

    def ended(self) -> PreparedSong | None:
        """The song, if all its chunks are written."""
        ends = [(row["differences"], row["stamp"]) for row in self._rows() if "differences" in row]
        return PreparedSong(self.song, list(self.chunks().values()), *ends[-1]) if ends else None

    def begin(self) -> None:
        """Note that chunks are going to be written."""
        self._lines.append({"stamp": self.stamp})

    def add(self, chunk: StoredChunk) -> None:
        """Note that a chunk is written."""
        self._lines.append({"stamp": self.stamp, "stored": asdict(chunk)})

    def end(self, differences: list[str]) -> None:
        """Note that there are no more chunks."""
        self._lines.append({"stamp": self.stamp, "differences": differences})

    def _rows(self) -> Iterator[dict[str, Any]]:
        for _, row in self._lines.rows():
            if self.stamp in (None, row.get("stamp")):
                yield row
