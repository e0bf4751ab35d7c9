"""What a run of `test` has measured so far, so that one which breaks off can go on where it stopped.

Each process appends a line of JSON for each chunk to a file of its own in the run's folder.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from mdx_progressive.evaluation.results import Row
from mdx_progressive.evaluation.timings import Timing
from mdx_progressive.runtime import Journal, MdxError

_SHARES = "measured.*.jsonl"
_LOCK = ".lock"

Chunk = tuple[str, int]
"""Song and number of a chunk."""
Line = tuple[Journal, int]
"""A file, and the place in it where a line begins."""
Fingerprint = Callable[[str], str]
"""The name of a song to what changes with its files (see `Song.fingerprint`) and the separator's."""


class Measurements:
    """The chunks that the processes of a run have measured.

    Args:
        folder: The run's folder, the same for all processes.
        rank: Number of this process; the first one keeps other runs out of the folder.

    Raises:
        MdxError: If another run is writing to the folder.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.appended = 0
        """Chunks that this process has added."""
        self.total: int | None = None
        """Chunks that the run has in all, where that is known: it is told of a run that broke off."""
        self._lock = FileLock(folder / _LOCK)
        try:
            if rank == 0:
                self._lock.acquire(timeout=2)
        except Timeout as error:
            raise MdxError(f"{folder}: another run is writing to it") from error
        self._lines = Journal(folder / _SHARES.replace("*", str(rank)))

    def append(self, song: str, chunk: int, stamp: str, rows: Sequence[Row], timings: Sequence[Timing]) -> None:
        """Add what was measured of a chunk, and hand it to the operating system."""
        found = {"rows": [row[2:] for row in rows], "timings": [timing[2:] for timing in timings]}
        place = {"song": song, "chunk": chunk, "of": self.total}
        self._lines.append({**place, "stamp": stamp, **found})
        self.appended += 1

    def chunks(self, stamp: Fingerprint) -> dict[Chunk, Line]:
        """The chunks that all processes have measured, and whose stamp is still the same, each with its line.

        A chunk that was measured again stands there last.
        """
        found = {}
        for line, entry in self._entries():
            if entry["stamp"] == stamp(entry["song"]):
                found[entry["song"], entry["chunk"]] = line
        return found

    def outdated(self, stamp: Fingerprint) -> set[Chunk]:
        """The chunks that have been measured, but not with that stamp."""
        places = {(entry["song"], entry["chunk"]) for _, entry in self._entries()}
        return places - set(self.chunks(stamp))

    def _entries(self) -> Iterator[tuple[Line, dict[str, Any]]]:
        return _entries(self.folder)

    def rows(self, chunks: Mapping[Chunk, Line]) -> Iterator[Row]:
        """The rows of these chunks in the order of songs and chunks; one chunk at a time is in memory."""
        for place, entry in _of(chunks):
            yield from (Row(*place, *values) for values in entry["rows"])

    def timings(self, chunks: Mapping[Chunk, Line]) -> Iterator[Timing]:
        """How long the methods took over these chunks, in the order of `rows`."""
        for place, entry in _of(chunks):
            yield from (Timing(*place, *values) for values in entry["timings"])

    def close(self) -> None:
        """Let other runs into the folder; the files stay."""
        self._lock.release()

    def remove(self) -> None:
        """Close and remove the files of all processes: the run is complete."""
        self.close()
        discard_measurements(self.folder)
        (self.folder / _LOCK).unlink(missing_ok=True)


def _of(chunks: Mapping[Chunk, Line]) -> Iterator[tuple[Chunk, dict[str, Any]]]:
    for place in sorted(chunks):
        share, start = chunks[place]
        yield place, share.at(start)


def discard_measurements(folder: Path) -> None:
    """Remove what a run that broke off has measured."""
    for path in folder.glob(_SHARES):
        path.unlink()


def _entries(folder: Path) -> Iterator[tuple[Line, dict[str, Any]]]:
    for share in map(Journal, sorted(folder.glob(_SHARES))):
        for start, entry in share.rows():
            yield (share, start), entry


def _begun(folder: Path) -> bool:
    return any(folder.glob(_SHARES))


def was_interrupted(folder: Path) -> bool:
    """Whether a run has left measurements in the folder without coming to its end, and none is writing to it now."""
    if not _begun(folder):
        return False
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    lock.release()
    return True


class RunProgress(NamedTuple):
    """How far a run is that has not come to its end.

    Args:
        measured: Chunks that it has measured.
        total: Chunks that it has in all; None where it was not known.
        interrupted: Whether nothing is writing to its folder now.
    """

    measured: int
    total: int | None
    interrupted: bool


def run_progress(folder: Path) -> RunProgress | None:
    """How far the run in a folder is; None where there is none, or it has come to its end."""
    if not _begun(folder):
        return None
    places, total = set(), None
    for _, entry in _entries(folder):
        places.add((entry["song"], entry["chunk"]))
        total = entry.get("of")
    return RunProgress(len(places), total, was_interrupted(folder))
