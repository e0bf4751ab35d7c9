"""Files: written whole or not at all, tables as CSV, checksums."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest
from importlib.resources.abc import Traversable
from pathlib import Path

from mdx_progressive.runtime.errors import MdxError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed when it is on the disk, removed if writing fails.

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
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is not None and os.fspath(error.filename) == str(temporary):
            error.filename = str(path)  # What a message names.
        raise
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


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV; the file appears, or replaces an older one, when it is complete."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def checksum(path: Traversable) -> str:
    """SHA-256 of a file in hexadecimal, as `sha256sum` prints it; the file is read piece by piece."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # Any open file has `readinto`.
