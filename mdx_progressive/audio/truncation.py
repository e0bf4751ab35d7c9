"""Signs that a file is truncated, where decoders take what is there for all of it."""

import re
from pathlib import Path

from mdx_progressive.audio.frames import skip_tags

_SIZES = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
STREAMED = 0x7FFF_0000
"""A program that writes to a pipe can't go back to note the size, and notes the largest possible one, or nearly."""
_HEADER = 44
"""Bytes: some programs note the size of a file, which has a header, for that of its samples."""


def missing_bytes(log: str) -> int:
    r"""Bytes that a header of WAV, W64, RF64, AIFF or AU promises beyond the end of the file, by libsndfile's log.

    Example:
        >>> missing_bytes("RIFF : 2036 (should be 1036)\ndata : 2000 (should be 1000)")
        1000
        >>> missing_bytes("data : 4294967295 (should be 1000)")
        0
    """
    sizes = [(int(promised), int(actual)) for promised, actual in _SIZES.findall(log)]
    # Nothing was noted where a recorder has lost its power: then all of the file is meant.
    missing = max((promised - actual for promised, actual in sizes if 0 < promised < STREAMED), default=0)
    return missing if missing > _HEADER else 0


def counts_frames(path: Path, start: int = 0) -> bool:
    """Whether the first frame of an MP3, which begins at a byte, tells how many there are; else that is a guess."""
    with path.open("rb") as file:
        file.seek(skip_tags(file, start))
        first = file.read(4096)
    return b"Xing" in first or b"Info" in first
