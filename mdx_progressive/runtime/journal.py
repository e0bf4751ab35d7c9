"""Lines of JSON in a file, of which a process that is killed leaves whole ones, and at most one that is torn."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any


class Journal:
    """A file with an object of JSON on each line, written by one process at a time.

    Args:
        path: The file; it appears with the first line.

    Example:
        >>> import tempfile
        >>> lines = Journal(Path(tempfile.mkdtemp()) / "a.jsonl")
        >>> lines.append({"chunk": 0})
        >>> with lines.path.open("a") as file:
        ...     _ = file.write('{"chunk": 1, "va')  # Killed.
        >>> lines.append({"chunk": 1})
        >>> [row for _, row in lines.rows()]
        [{'chunk': 0}, {'chunk': 1}]
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Add a line, and hand it to the operating system."""
        with self.path.open("ab") as file:
            # Before it there may be half a line, which this one must not become a part of.
            file.write(b"\n" + json.dumps(row).encode() + b"\n")

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The whole lines, each with the place in the file where it begins."""
        if not self.path.exists():
            return
        start = 0
        with self.path.open("rb") as file:
            for line in file:
                with suppress(ValueError):  # Half a line, or none.
                    yield start, json.loads(line)
                start += len(line)

    def at(self, start: int) -> dict[str, Any]:
        """The line that begins at a place."""
        with self.path.open("rb") as file:
            file.seek(start)
            found: dict[str, Any] = json.loads(file.readline())
            return found
