"""Pages of Ogg (RFC 3533): chains of files, lost and damaged pages; decoders leave these out and tell nobody."""

import zlib
from typing import BinaryIO

_HEAD = 27
_LARGEST_PAGE = 65307
_FIRST, _LAST = 2, 4
"""Flags of a logical stream's first and last page."""
_MIRROR = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def walk(file: BinaryIO, size: int) -> tuple[str, tuple[tuple[int, int], ...]]:
    """What is wrong with a file of `size` bytes, and its parts if it is a chain of several."""
    begins: list[int] = []
    numbers: dict[bytes, int] = {}
    place, ended, within = 0, False, True
    while place < size:
        file.seek(place)
        page = file.read(_LARGEST_PAGE)
        if page[:4] != b"OggS":
            # Behind the end there may be a tag of another format.
            return ("" if ended and b"OggS" not in page + file.read() else f"is damaged at byte {place}"), ()
        segments = page[26] if len(page) >= _HEAD else 255
        length = _HEAD + segments + sum(page[_HEAD : _HEAD + segments])
        if len(page) < _HEAD + segments or place + length > size:
            return "is truncated within a page of Ogg", ()
        page = page[:length]
        if _checksum(page) != page[22:26]:
            return f"is damaged at byte {place}", ()
        flags, serial, number = page[5], page[14:18], int.from_bytes(page[18:22], "little")
        if flags & _FIRST:
            if within:
                begins.append(place)
                numbers.clear()
            within = False
        elif number != numbers.get(serial, number - 1) + 1:
            return f"is damaged, a page of Ogg is missing before byte {place}", ()
        else:
            within = True
        numbers[serial], ended = number, bool(flags & _LAST)
        place += length
    return "", tuple(zip(begins, [*begins[1:], size], strict=True)) if len(begins) > 1 else ()


def _checksum(page: bytes) -> bytes:
    """Ogg's checksum is that of zlib with all bits the other way round, which begins and ends with zeros."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRROR)
    checksum = zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return checksum.to_bytes(4, "big").translate(_MIRROR)
