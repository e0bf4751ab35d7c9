"""What is done of a song while `prepare` works on it: a line for each chunk, so that a killed run can go on."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mdx_progressive.data.prepared_index import PreparedSong, StoredChunk


class Journal:
    """The lines of one song, which one process writes.

    Args:
        path: The file.
        song: Name of the song.
    """

    def __init__(self, path: Path, song: str) -> None:
        self.path = path
        self.song = song

    def chunks(self) -> dict[int, StoredChunk]:
        """The chunks that are written, by number."""
        return {row["chunk"]: StoredChunk.of(row) for row in self._rows() if "chunk" in row}

    def ended(self) -> PreparedSong | None:
        """The song, if all its chunks are written."""
        ends = [row["differences"] for row in self._rows() if "differences" in row]
        return PreparedSong(self.song, list(self.chunks().values()), ends[-1]) if ends else None

    def add(self, chunk: StoredChunk) -> None:
        """Note that a chunk is written."""
        self._append(asdict(chunk))

    def end(self, differences: list[str]) -> None:
        """Note that there are no more chunks."""
        self._append({"differences": differences})

    def _append(self, row: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            # A killed run may have left half a line, which this one must not become a part of.
            file.write(f"\n{json.dumps(row)}\n")

    def _rows(self) -> Iterator[dict[str, Any]]:
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                with suppress(json.JSONDecodeError):  # Half a line.
                    yield json.loads(line)
