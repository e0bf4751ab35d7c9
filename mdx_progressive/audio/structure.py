"""What the bytes of a file tell of its wholeness before it is decoded, and which files are several in a row."""

from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mdx_progressive.audio import containers, frames, ogg_pages


class Structure(NamedTuple):
    """How a file is built.

    Args:
        fault: What is wrong with it, as "is truncated within a frame"; empty if nothing is.
        parts: First byte of each file in a chain of several, and the byte behind its last; empty for a single file.
    """

    fault: str = ""
    parts: tuple[tuple[int, int], ...] = ()


def examine(path: Path) -> Structure:
    """The structure of a file of Ogg, MPEG audio and other formats whose decoders don't tell.

    Raises:
        OSError: If it can't be read.
    """
    stat = path.stat()
    return _examine(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _examine(path: Path, size: int, date: int) -> Structure:
    """Once for each state of a file: it is counted, and then read."""
    with path.open("rb") as file:
        head = file.read(32)
        if head[:4] == b"OggS":
            return Structure(*ogg_pages.walk(file, size))
        if fault := containers.fault(head, file, size):
            return Structure(fault)
        begin = frames.skip_tags(file, 0)
        return Structure(*_frames(file, begin, size))


def _frames(file: BinaryIO, begin: int, size: int) -> tuple[str, tuple[tuple[int, int], ...]]:
    file.seek(begin)
    syntax = frames.syntax(file.read(16))
    return frames.walk(file, begin, size, syntax) if syntax else ("", ())
