"""Which files are whose, while several runs write to one folder."""

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
_BEGINNING = ".beginning.lock"
_PATIENCE = 60.0
"""Seconds that another run may take to choose its songs."""


class Claims:
    """What a run is going to write, for other runs to leave alone.

    Each of its processes holds a lock, which vanishes with the process however that ends, and has what it claims beside
    it. On file systems without locks nothing is kept from others.

    Args:
        out: The folder that is written to.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self._lock = _lock(out / f"{_RUN}{uuid4().hex}{_LOCK}")

    @contextmanager
    def choosing(self) -> Iterator[set[Path]]:
        """What other runs have claimed; none of them begins within.

        Raises:
            MdxError: If another run does not come to the end of its own choice.
        """
        beginning = _lock(self.out / _BEGINNING)
        try:
            beginning.acquire(timeout=_PATIENCE)
        except Timeout as error:
            raise MdxError(f"{self.out}: another run begins there and does not come to an end with it") from error
        except (NotImplementedError, OSError):
            pass
        try:
            yield self._of_others() if beginning.is_locked else set()
        finally:
            if beginning.is_locked:
                _remove(beginning)

    def claim(self, places: Iterable[Path]) -> None:
        """Claim files and folders below `out`; to be called within `choosing`.

        Raises:
            OSError: If that can't be written.
        """
        with suppress(NotImplementedError, OSError):
            self._lock.acquire(blocking=False)
        if self._lock.is_locked:
            with atomic_write(_list(self._lock)) as temporary:
                temporary.write_text(json.dumps([str(place.relative_to(self.out)) for place in places]))

    def end(self) -> None:
        """Claim nothing any more."""
        if self._lock.is_locked:
            _remove(self._lock)

    def _of_others(self) -> set[Path]:
        claimed: set[Path] = set()
        for path in self.out.glob(f"{_RUN}*{_LOCK}"):
            lock = _lock(path)
            try:
                lock.acquire(blocking=False)
            except OSError:
                with suppress(FileNotFoundError):  # It has come to its end meanwhile.
                    claimed.update(self.out / place for place in json.loads(_list(lock).read_text()))
            else:
                _remove(lock)
        return claimed


def _lock(path: Path) -> FileLock:
    """A lock for all who may write to its folder, whoever has made it."""
    return FileLock(path, mode=0o666, fallback_to_soft=False)


def _list(lock: FileLock) -> Path:
    return Path(lock.lock_file).with_suffix(_LIST)


def _remove(lock: FileLock) -> None:
    """Remove a lock that is held, what was claimed under it, and what a process that was killed has left of that."""
    path = Path(lock.lock_file)
    for left in (*path.parent.glob(f"*{path.stem}*{_LIST}*"), path):
        with suppress(PermissionError):  # Left by another user in a folder that keeps users apart.
            left.unlink(missing_ok=True)
    lock.release()
