"""Checksums of files."""

from hashlib import file_digest
from importlib.resources.abc import Traversable


def checksum(path: Traversable) -> str:
    """SHA-256 of a file, in hexadecimal, as `sha256sum` prints it.

    Args:
        path: The file; it is read piece by piece.
    """
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type] # Any open file has `readinto`.
