"""Files: written whole or not at all, tables as CSV, checksums; what a full disk is, and what kills leave."""

import csv
import errno
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest
from importlib.resources.abc import Traversable
from itertools import chain
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from mdx_progressive.runtime.errors import MdxError
from mdx_progressive.runtime.escaping import escape_cell

log = logging.getLogger(__name__)

_PART = ".part"
_TOKEN = 8
"""Letters by which the temporary files of several writers differ."""
_LONGEST_NAME = 255
"""Bytes of a name on usual file systems."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


def real_path(path: Path) -> Path:
    """A path without links; `Path.resolve` raises where links go in a circle, which are left as they are here."""
    return Path(os.path.realpath(path))


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed when it is on the disk, removed if writing fails.

    Each writer has one of its own, so that several of one file don't mix: the last one to end counts. A link in the
    place of the file is replaced; what it points to is left alone. What a killed process leaves, `remove_parts` finds.

    Raises:
        OSError: If the file can't be written; it names `path`.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "a.txt"
        >>> with atomic_write(target) as temporary:
        ...     _ = temporary.write_text("all of it")
        ...     target.exists()
        False
        >>> target.read_text(), [file.name for file in target.parent.iterdir()]
        ('all of it', ['a.txt'])
    """
    temporary = path.with_name(f"{_part_beginning(path)}.{uuid4().hex[:_TOKEN]}{_PART}")
    try:
        with naming(path, temporary):
            yield temporary
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_folder_of(path: Path, option: str = "") -> None:
    """See that there is the folder of a file that is to be written, before the work for it.

    Args:
        path: The file.
        option: The option that names it, if there is one.

    Raises:
        MdxError: If there is none.
    """
    if not path.parent.is_dir():
        raise MdxError(f"{f'{option} ' if option else ''}{path}: there is no folder {path.parent}")


def remove_parts(paths: Iterable[Path]) -> None:
    """Remove the temporary files of killed processes, where nobody is writing now.

    Args:
        paths: Files that they were to become, and folders of such files; they need not exist.
    """
    beginnings: dict[Path, set[str]] = {}
    for path in paths:
        if path.is_dir():
            _remove(path.rglob(f".*{_PART}"))
        else:
            beginnings.setdefault(path.parent, set()).add(_part_beginning(path))
    for folder, own in beginnings.items():
        _remove(part for part in folder.glob(f".*{_PART}") if part.name[: -_TOKEN - 1 - len(_PART)] in own)


def _remove(parts: Iterable[Path]) -> None:
    for part in list(parts):
        part.unlink(missing_ok=True)


def _part_beginning(path: Path) -> str:
    """How the names of its temporary files begin, which must not be longer than names can be."""
    room = _LONGEST_NAME - _TOKEN - 1 - len(_PART)
    return os.fsencode(f".{path.name}")[:room].decode(errors="ignore")


def set_aside(path: Path, reason: object) -> None:
    """Keep a file that is of no use under another name, so that the run goes on without it, and say so."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    log.warning("%s: %s: kept as %s, the run goes on without", path, reason, aside.name)


@contextmanager
def naming(path: Path, *others: Path) -> Iterator[None]:
    """Within it an `OSError` of the system that names no file, or one of `others`, names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, *map(str, others)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that a disk or one's share of it is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        error = error.__cause__
    return False


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV; the file appears, or replaces an older one, when it is complete.

    Texts that a spreadsheet would compute are marked: `read_cell` gives them back.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(_Lines(file))
        for row in chain([columns], rows):
            writer.writerow([escape_cell(cell) if isinstance(cell, str) else cell for cell in row])


class _Lines:
    r"""Ends lines with \n in place of \r\n. Only with the latter Python before 3.13 quotes both letters in cells."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")


def checksum(path: Traversable) -> str:
    """SHA-256 of a file in hexadecimal, as `sha256sum` prints it; the file is read piece by piece."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # Any open file has `readinto`.
