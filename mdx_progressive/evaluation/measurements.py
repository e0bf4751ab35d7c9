"""The chunks that a run of `test` has measured so far, for the same command to resume after an interruption.

Each process keeps a journal in the run's folder, with the rows and timings of a chunk in each entry.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from mdx_progressive.evaluation.results import Row
from mdx_progressive.evaluation.timings import Timing
from mdx_progressive.runtime import Entry, Journal, MdxError, check_type

FILES = "measured.*.jsonl"
_LOCK = ".lock"

Chunk = tuple[str, int]
"""Song and number of a chunk."""


class Measurements:
    """The chunks that the processes of a run have measured.

    Args:
        folder: The run's folder, the same for all processes.
        rank: Number of this process; the first one locks the folder.
        fingerprints: By the name of a song, what changes with its files and the separator's.
        total: Chunks of the whole run, if that is known; messages about an interrupted run name it.
        lock: What `lock_run` has returned for the folder, if it was called before.

    Raises:
        MdxError: If another run is writing to the folder.
    """

    def __init__(
        self,
        folder: Path,
        rank: int = 0,
        fingerprints: Mapping[str, str] | None = None,
        total: int | None = None,
        lock: FileLock | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.fingerprints = fingerprints or {}
        self.total = total
        self.appended = 0
        """Chunks that this process has added."""
        self._lock = (lock or lock_run(folder)) if rank == 0 else None
        self._journal = _journal(folder, rank)
        if rank == 0:
            self._journal.mend()

    def append(self, song: str, chunk: int, rows: Sequence[Row], timings: Sequence[Timing]) -> None:
        """Add what was measured of a chunk."""
        values = {"rows": [row[2:] for row in rows], "timings": [timing[2:] for timing in timings]}
        entry = {"song": song, "chunk": chunk, "of": self.total, **values}
        self._journal.append(self.fingerprints.get(song, ""), entry)
        self.appended += 1

    def chunks(self) -> tuple[dict[Chunk, Entry], set[Chunk]]:
        """The chunks that all processes have measured with the current fingerprints, and those only with others."""
        return self._journal.latest(lambda fingerprint, chunk: fingerprint == self.fingerprints.get(chunk[0], ""))

    def rows(self, chunks: Mapping[Chunk, Entry]) -> Iterator[Row]:
        """The rows of these chunks in the order of songs and chunks; one chunk at a time is in memory."""
        for chunk in sorted(chunks):
            yield from _rows(chunk, chunks[chunk].read())

    def timings(self, chunks: Mapping[Chunk, Entry]) -> Iterator[Timing]:
        """How long the methods took over these chunks, in the order of `rows`."""
        for chunk in sorted(chunks):
            yield from _timings(chunk, chunks[chunk].read())

    def close(self) -> None:
        """Unlock the folder; the files stay."""
        if self._lock:
            self._lock.release()

    def remove(self) -> None:
        """Close and remove the files of all processes: the run is complete."""
        self.close()
        discard_measurements(self.folder)
        (self.folder / _LOCK).unlink(missing_ok=True)


def lock_run(folder: Path) -> FileLock:
    """Lock the folder of a run, which is created; the lock vanishes with the process, its file stays until the end.

    Raises:
        MdxError: If another run is writing to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=2)
    except Timeout as error:
        raise MdxError(f"{folder}: another run is writing to it") from error
    return lock


def discard_measurements(folder: Path) -> None:
    """Remove what an interrupted run has measured."""
    for path in folder.glob(FILES):
        path.unlink()


def was_interrupted(folder: Path) -> bool:
    """Whether a run has left measurements in the folder without coming to its end, and none is writing to it now."""
    return any(folder.glob(FILES)) and _is_left(folder)


def was_begun(folder: Path) -> bool:
    """Whether a run was stopped before it had measured anything, and none is writing to the folder now."""
    begun = (folder / _LOCK).exists() and not any(folder.glob(FILES)) and not (folder / "results.csv").exists()
    return begun and _is_left(folder)


def _is_left(folder: Path) -> bool:
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
    if not any(folder.glob(FILES)):
        return None
    chunks, _ = _journal(folder).latest(lambda fingerprint, chunk: True)
    total = max(chunks.values()).read().get("of") if chunks else None
    return RunProgress(len(chunks), total, was_interrupted(folder))


def _journal(folder: Path, rank: int = 0) -> Journal[Chunk]:
    return Journal(folder / FILES.replace("*", str(rank)), _chunk, FILES)


def _chunk(entry: dict[str, Any]) -> Chunk:
    """The chunk of an entry; raises where its rows or timings are not those of this version."""
    chunk = check_type(entry["song"], str), check_type(entry["chunk"], int)
    _rows(chunk, entry)
    _timings(chunk, entry)
    return chunk


def _rows(chunk: Chunk, entry: dict[str, Any]) -> list[Row]:
    return [Row(*_typed(Row, [*chunk, *values])) for values in entry["rows"]]


def _timings(chunk: Chunk, entry: dict[str, Any]) -> list[Timing]:
    return [Timing(*_typed(Timing, [*chunk, *values])) for values in entry["timings"]]


def _typed(kind: type[Row] | type[Timing], values: Sequence[object]) -> list[Any]:
    return [check_type(value, each) for value, each in zip(values, kind.__annotations__.values(), strict=True)]
