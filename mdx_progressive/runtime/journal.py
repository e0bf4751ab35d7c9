"""Append-only journal: what a run has finished, for the same command to resume after an interruption."""

import json
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from mdx_progressive.runtime.files import naming

KeyT = TypeVar("KeyT", bound=Hashable)
Content = dict[str, Any]
"""An entry: an object of JSON."""

_FINGERPRINT = "stamp"
"""Key of the fingerprint in a file; its former name, so that interrupted runs of version 0.1 are resumed."""


class Entry(NamedTuple):
    """An entry on disk: its file, and the byte at which its line begins."""

    path: Path
    start: int

    def read(self) -> Content:
        """What was appended."""
        with self.path.open("rb") as file:
            file.seek(self.start)
            content: Content = json.loads(file.readline())
            return content


class Journal(Generic[KeyT]):
    """Entries with a key and a fingerprint, a line of JSON each; the last entry of a key counts.

    Each process of a run appends to a file of its own, and reads those of all. An entry whose fingerprint is no longer
    the current one is outdated. What can't be read is skipped: a line that was cut off when its process was killed, or
    an entry of a version of the package that wrote others.

    Args:
        path: The file of this process; it appears with the first entry.
        key: The key of an entry; raises what wrong JSON raises for one that can't be used.
        files: Pattern of the names of all processes' files; by default the name of `path`.

    Example:
        >>> import tempfile
        >>> journal = Journal(Path(tempfile.mkdtemp()) / "a.jsonl", lambda entry: entry["chunk"])
        >>> journal.append("old", {"chunk": 0})
        >>> journal.append("new", {"chunk": 1, "value": 1})
        >>> with journal.path.open("a") as file:
        ...     _ = file.write('{"chunk": 2, "va')  # Killed.
        >>> journal.append("new", {"chunk": 1, "value": 2})
        >>> current, outdated = journal.latest(lambda fingerprint, key: fingerprint == "new")
        >>> {key: entry.read()["value"] for key, entry in current.items()}, outdated
        ({1: 2}, {0})
    """

    def __init__(self, path: Path, key: Callable[[Content], KeyT], files: str | None = None) -> None:
        self.path = path
        self.key = key
        self.files = files or path.name

    def append(self, fingerprint: str | None, content: Content) -> None:
        """Add an entry, and hand it to the operating system."""
        with naming(self.path), self.path.open("ab") as file:
            # Before it there may be half a line, which this one must not become a part of.
            file.write(b"\n" + json.dumps({**content, _FINGERPRINT: fingerprint}).encode() + b"\n")

    def latest(self, is_current: Callable[[Any, KeyT], bool]) -> tuple[dict[KeyT, Entry], set[KeyT]]:
        """The last current entry of each key, and the keys of which all entries are outdated.

        Args:
            is_current: Tells this of a fingerprint and a key.
        """
        current: dict[KeyT, Entry] = {}
        outdated: set[KeyT] = set()
        for entry, content in self._entries():
            with suppress(AttributeError, KeyError, TypeError, ValueError):
                key = self.key(content)
                if is_current(content.get(_FINGERPRINT), key):
                    current[key] = entry
                else:
                    outdated.add(key)
        return current, outdated - current.keys()

    def _entries(self) -> Iterator[tuple[Entry, Content]]:
        for path in sorted(self.path.parent.glob(self.files)):
            start = 0
            with path.open("rb") as file:
                for line in file:
                    with suppress(ValueError):
                        if isinstance(content := json.loads(line), dict):
                            yield Entry(path, start), content
                    start += len(line)
