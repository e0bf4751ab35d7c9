"""Containers that say how large they are, which their decoders don't compare with the file: CAF, VOC, AVI, Matroska and
WebM, FLV, ASF (WMA), MPEG program and transport streams.
"""

import struct
from collections.abc import Callable
from typing import BinaryIO

from mdx_progressive.audio.truncation import STREAMED

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675


def fault(head: bytes, file: BinaryIO, size: int) -> str:
    """What is wrong with a file of `size` bytes that begins with the 32 of `head`; empty if nothing is."""
    for begins, check in _CHECKS:
        if begins(head):
            missing = check(file, size)
            return f"is truncated, {missing} bytes are missing" if missing > 0 else ""
    return ""


def _avi(file: BinaryIO, size: int) -> int:
    place = 0
    while place + 8 <= size:
        file.seek(place)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        # Of a pipe, lists don't tell their size; their chunks do.
        inside = name == b"LIST" or (name == b"RIFF" and not 0 < length < STREAMED)
        place += 12 if inside else 8 + length + length % 2
    return place - size if place - size > 1 else 0


def _asf(file: BinaryIO, size: int) -> int:
    place = 0
    while place + 24 <= size:
        file.seek(place + 16)
        length = int.from_bytes(file.read(8), "little")
        if length < 24:
            return 0
        place += length
    return place - size


def _program_stream(file: BinaryIO, size: int) -> int:
    place = 0
    while place + 6 <= size:
        file.seek(place)
        head = file.read(14)
        if head[:3] != b"\0\0\1" or head[3] < 0xB9:
            return 0
        if head[3] == 0xBA:
            place += 14 + (head[13] & 7) if len(head) == 14 and head[4] & 0xC0 == 0x40 else 12
        else:
            place += 4 if head[3] == 0xB9 else 6 + int.from_bytes(head[4:6], "big")
    return place - size


def _caf(file: BinaryIO, size: int) -> int:
    place = 8
    while place + 12 <= size:
        file.seek(place)
        length = int.from_bytes(file.read(12)[4:], "big", signed=True)
        if length < 0:  # Whatever follows.
            return 0
        place += 12 + length
    return place - size


def _voc(file: BinaryIO, size: int) -> int:
    file.seek(20)
    place = int.from_bytes(file.read(2), "little")
    while place + 4 <= size:
        file.seek(place)
        block = file.read(4)
        if not 0 < block[0] <= 9:  # The end.
            return 0
        place += 4 + int.from_bytes(block[1:], "little")
    return place - size


def _flv(file: BinaryIO, size: int) -> int:
    file.seek(5)
    place = int.from_bytes(file.read(4), "big") + 4
    file.seek(0)
    start = file.read(4096)
    if (at := start.find(b"filesize\0")) > 0 and len(start) >= at + 17:
        (told,) = struct.unpack(">d", start[at + 9 : at + 17])
        if size < told < 1e15:
            return int(told) - size
    while place < size:
        file.seek(place)
        tag = file.read(4)
        if tag[0] & 0x1F not in (8, 9, 18):
            return 0
        place += 11 + int.from_bytes(tag[1:], "big") + 4
    return place - size


def _matroska(file: BinaryIO, size: int) -> int:
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(12)
        name, width = _number(head, keep_mark=True)
        length, more = _number(head[width:], keep_mark=False)
        if not width or not more:
            return 1 if len(head) < 12 else 0
        place += width + more
        unknown = length == (1 << 7 * more) - 1
        if not unknown and place + length > size:
            return place + length - size
        if name != _SEGMENT and not (name == _CLUSTER and unknown):
            if unknown:
                return 0
            place += length
    return 0


def _number(head: bytes, *, keep_mark: bool) -> tuple[int, int]:
    """A number of variable width and its width; a width of 0 if there is none."""
    width = 9 - head[0].bit_length() if head else 9
    if width > 8 or width > len(head):
        return 0, 0
    number = int.from_bytes(head[:width], "big")
    return (number if keep_mark else number & ((1 << 7 * width) - 1)), width


def _transport_stream(file: BinaryIO, size: int) -> int:
    for packet, sync in ((188, 0), (192, 4)):  # The latter with a time before each.
        file.seek(0)
        start = file.read(3 * packet)
        if len(start) == 3 * packet and set(start[sync::packet]) == {0x47}:
            return -size % packet
    return 0


_CHECKS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int]], ...] = (
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _avi),
    (lambda head: head[:4] == b"caff", _caf),
    (lambda head: head[:20] == b"Creative Voice File\x1a", _voc),
    (lambda head: head[:4] == b"\x1a\x45\xdf\xa3", _matroska),
    (lambda head: head[:3] == b"FLV", _flv),
    (lambda head: head[:4] == b"\x30\x26\xb2\x75", _asf),
    (lambda head: head[:4] == b"\0\0\1\xba", _program_stream),
    (lambda head: b"G" in head[:1] + head[4:5], _transport_stream),
)
