"""Append-only journal: what a run has finished, for the same command to resume after an interruption."""

import json
from collections.abc import Callable, Hashable
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from mdx_progressive.runtime.files import atomic_write, naming, set_aside
from mdx_progressive.runtime.json_input import check_type, parse_json

KeyT = TypeVar("KeyT", bound=Hashable)
Content = dict[str, Any]
"""An entry: an object of JSON."""

_WRONG = (AttributeError, KeyError, TypeError, ValueError)
"""What is raised for an entry that is none."""
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

    def mend(self) -> None:
        """Set the files aside that hold what is no entry, and keep their entries; nobody may write to them now.

        A line that was cut off when its process was killed is nothing to speak of.
        """
        for path in sorted(self.path.parent.glob(self.files)):
            lines = path.read_bytes().splitlines(keepends=True)
            foreign = [line for line in lines if self._is_foreign(line)]
            if foreign:
                set_aside(path, f"{len(foreign)} of its lines are no entries of this version")
                with atomic_write(path) as temporary:
                    temporary.write_bytes(b"".join(line for line in lines if line not in foreign))

    def latest(self, is_current: Callable[[Any, KeyT], bool]) -> tuple[dict[KeyT, Entry], set[KeyT]]:
        """The last current entry of each key, and the keys of which all entries are outdated.

        Args:
            is_current: Tells this of a fingerprint and a key.
        """
        current: dict[KeyT, Entry] = {}
        outdated: set[KeyT] = set()
        for path in sorted(self.path.parent.glob(self.files)):
            start = 0
            with path.open("rb") as file:
                for line in file:
                    with suppress(*_WRONG):
                        key, content = self._entry(line)
                        if is_current(content.get(_FINGERPRINT), key):
                            current[key] = Entry(path, start)
                        else:
                            outdated.add(key)
                    start += len(line)
        return current, outdated - current.keys()

    def _entry(self, line: bytes) -> tuple[KeyT, Content]:
        content = check_type(parse_json(line), dict)
        key = self.key(content)
        hash(key)
        return key, content

    def _is_foreign(self, line: bytes) -> bool:
        """Whether a line is no entry, though it is whole."""
        if not line.endswith(b"\n") or not line.strip():
            return False
        try:
            self._entry(line)
        except JSONDecodeError:
            return False  # The next process has ended the line, but not what it says.
        except _WRONG:
            return True
        return False
