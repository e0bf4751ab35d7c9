"""What is done of a song while `prepare` works on it: a line for each chunk, so that a killed run can go on."""

from dataclasses import asdict
from pathlib import Path

from mdx_progressive.data.prepared_index import PreparedSong, StoredChunk
from mdx_progressive.json_lines import JsonLines


class SongJournal:
    """The lines of one song, which one process writes.

    Args:
        path: The file.
        song: Name of the song.
    """

    def __init__(self, path: Path, song: str) -> None:
        self.path = path
        self.song = song
        self._lines = JsonLines(path)

    def chunks(self) -> dict[int, StoredChunk]:
        """The chunks that are written, by number."""
        return {row["chunk"]: StoredChunk.of(row) for _, row in self._lines.rows() if "chunk" in row}

    def ended(self) -> PreparedSong | None:
        """The song, if all its chunks are written."""
        ends = [row["differences"] for _, row in self._lines.rows() if "differences" in row]
        return PreparedSong(self.song, list(self.chunks().values()), ends[-1]) if ends else None

    def add(self, chunk: StoredChunk) -> None:
        """Note that a chunk is written."""
        self._lines.append(asdict(chunk))

    def end(self, differences: list[str]) -> None:
        """Note that there are no more chunks."""
        self._lines.append({"differences": differences})
