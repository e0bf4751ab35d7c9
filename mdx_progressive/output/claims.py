"""Claims on files, while several runs write to one folder."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from mdx_progressive.runtime import MdxError, atomic_write

_RUN = ".run-"
_LOCK = ".lock"
_LIST = ".json"
_CHOICE = ".beginning.lock"
_PATIENCE = 60.0
"""Seconds that another run may take to choose its songs."""


class Claims:
    """The files that a run is going to write, for other runs to leave alone.

    Each of its processes holds a lock, which vanishes with the process however that ends, beside a list of what it
    claims. On file systems without locks nothing is kept from others.

    Args:
        out: The folder that is written to.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._lock = _lock(out / f"{_RUN}{uuid4().hex}{_LOCK}")

    @contextmanager
    def choosing(self) -> Iterator[set[Path]]:
        """The claims of other runs; none of these can claim anything within.

        Raises:
            MdxError: If another run does not come to the end of its own choice.
        """
        choice = _lock(self.out / _CHOICE)
        try:
            choice.acquire(timeout=_PATIENCE)
        except Timeout as error:
            raise MdxError(f"{self.out}: another run begins there and does not come to an end with it") from error
        except (NotImplementedError, OSError):
            pass
        try:
            yield self._others() if choice.is_locked else set()
        finally:
            if choice.is_locked:
                _remove(choice)

    def claim(self, paths: Iterable[Path]) -> None:
        """Claim files and folders below `out`; to be called within `choosing`.

        Raises:
            OSError: If the list can't be written.
        """
        with suppress(NotImplementedError, OSError):
            self._lock.acquire(blocking=False)
        if self._lock.is_locked:
            with atomic_write(_list(self._lock)) as temporary:
                temporary.write_text(json.dumps([path.relative_to(self.out).as_posix() for path in paths]))

    def end(self) -> None:
        """Give up all claims."""
        if self._lock.is_locked:
            _remove(self._lock)

    def _others(self) -> set[Path]:
        claimed: set[Path] = set()
        for path in self.out.glob(f"{_RUN}*{_LOCK}"):
            lock = _lock(path)
            try:
                lock.acquire(blocking=False)
            except OSError:
                with suppress(FileNotFoundError):  # It has ended meanwhile.
                    claimed.update(self.out / name for name in json.loads(_list(lock).read_text()))
            else:
                _remove(lock)
        return claimed


def _lock(path: Path) -> FileLock:
    """A lock that all who may write to the folder can take, whoever has created its file."""
    return FileLock(path, mode=0o666, fallback_to_soft=False)


def _list(lock: FileLock) -> Path:
    return Path(lock.lock_file).with_suffix(_LIST)


def _remove(lock: FileLock) -> None:
    """Remove a lock that is held, its list, and temporary lists of a process that was killed."""
    path = Path(lock.lock_file)
    for file in (*path.parent.glob(f"*{path.stem}*{_LIST}*"), path):
        with suppress(PermissionError):  # Left by another user in a folder that keeps users apart.
            file.unlink(missing_ok=True)
    lock.release()
