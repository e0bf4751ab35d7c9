"""Signs that a file is truncated, where decoders take what is there for all of it."""

import re
from pathlib import Path

_SIZES = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED = 0x7FFF_0000
"""A program that writes to a pipe can't go back to note the size, and notes the largest possible one, or nearly."""
_OGG_TAIL = 1 << 17
"""The last page of Ogg, of 65307 bytes at most, begins within these last bytes."""


def missing_bytes(log: str) -> int:
    r"""Bytes that a header of WAV, W64, RF64, AIFF or AU promises beyond the end of the file, by libsndfile's log.

    Example:
        >>> missing_bytes("RIFF : 2036 (should be 1036)\ndata : 2000 (should be 1000)")
        1000
        >>> missing_bytes("data : 4294967295 (should be 1000)")
        0
    """
    sizes = [(int(promised), int(actual)) for promised, actual in _SIZES.findall(log)]
    return max((promised - actual for promised, actual in sizes if promised < _STREAMED), default=0)


def ends_within_ogg_page(path: Path) -> bool:
    """Whether a file of Ogg ends within a page."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return False
        size = file.seek(0, 2)
        file.seek(max(0, size - _OGG_TAIL))
        tail = file.read()
    start = tail.rfind(b"OggS")
    page = tail[start:] if start >= 0 else b""
    segments = page[26] if len(page) > 26 else 255
    return len(page) < 27 + segments + sum(page[27 : 27 + segments])


def counts_frames(path: Path) -> bool:
    """Whether the first frame of an MP3 tells how many there are; else their number is a guess by the size."""
    with path.open("rb") as file:
        start = file.read(10)
        if start[:3] == b"ID3":  # Seven bits of each of four bytes are the size of this tag.
            file.seek(10 + sum(byte << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True)))
        else:
            file.seek(0)
        first = file.read(4096)
    return b"Xing" in first or b"Info" in first
