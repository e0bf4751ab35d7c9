"""Frames of MPEG audio, AAC, AC-3, E-AC-3 and DTS in files without a container: whether the last one is whole, and
where another file begins within an MP3.
"""

import re
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

_HEAD = 16
_KILOBITS = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By version and layer; layer 3 of version 2 is as layer 2."""
_AC3_KILOBITS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_STRAY_FRAMES = 8
"""So few frames beyond those that the first one counts are no further file."""


class Syntax(NamedTuple):
    """A kind of frames.

    Args:
        length: The bytes of the frame that begins with these; 0 if none does.
        chains: Whether the first frame of a file may count the others, and another file may follow.
    """

    length: Callable[[bytes], int]
    chains: bool = False


def syntax(head: bytes) -> Syntax | None:
    """The kind of the frame that a file begins with."""
    return next((kind for kind in _KINDS if kind.length(head)), None)


def skip_tags(file: BinaryIO, place: int) -> int:
    """Where the tags of ID3v2, ID3v1 and APE that lie at a place end."""
    while True:
        file.seek(place)
        head = file.read(32)
        if head[:3] == b"ID3" and len(head) >= 10:
            # Seven bits of each of four bytes are its size.
            place += 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        elif head[:3] == b"TAG":
            place += 128
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            place += max(32, int.from_bytes(head[12:16], "little") + (32 if head[23] & 0x80 else 0))
        else:
            return place


def walk(file: BinaryIO, place: int, size: int, kind: Syntax) -> tuple[str, tuple[tuple[int, int], ...]]:
    """What is wrong with a file of `size` bytes whose frames begin at a place, and its parts if it is a chain."""
    begins, counted, left, first = [0], False, 0, place
    beyond: list[int] = []
    while place < size:
        file.seek(place)
        head = file.read(_HEAD)
        length = kind.length(head)
        if not length:
            further = skip_tags(file, place)
            if further == place and (further := _next_frame(file, place, kind)) < 0:
                break
            place = further
            continue
        if place + length > size:
            return ("" if counted and not left else "is truncated within a frame"), ()
        if kind.chains:
            file.seek(place)
            count = _count(file.read(min(length, 200)))
            if count is not None:
                if place != first:
                    begins.append(place)
                counted, left, beyond = True, count, []
            elif left:
                left -= 1
            elif counted:
                beyond.append(place)
                if len(beyond) == _STRAY_FRAMES:
                    begins.append(beyond[0])
                    counted, beyond = False, []
        place += length
    return "", tuple(zip(begins, [*begins[1:], size], strict=True)) if len(begins) > 1 else ()


def _next_frame(file: BinaryIO, place: int, kind: Syntax) -> int:
    """Where the next two frames in a row begin; -1 if none do within a mebibyte."""
    file.seek(place)
    block = file.read(1 << 20)
    for found in re.finditer(rb"\xff[\xe0-\xff]|\x0b\x77|\x7f\xfe\x80\x01", block):
        begin = found.start()
        length = kind.length(block[begin : begin + _HEAD])
        if begin and length and kind.length(block[begin + length : begin + length + _HEAD]):
            return place + begin
    return -1


def _count(frame: bytes) -> int | None:
    """How many frames the first frame of an MP3 says that follow; None if it does not."""
    for mark in (b"Xing", b"Info"):
        at = frame.find(mark, 4, 48)
        if at > 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big")
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return int.from_bytes(frame[50:54], "big")
    return None


def _mpeg(head: bytes) -> int:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = {3: 1, 2: 2, 0: 2.5}.get(head[1] >> 3 & 3), 4 - (head[1] >> 1 & 3)
    rate, index = head[2] >> 2 & 3, head[2] >> 4
    if version is None or layer == 4 or rate == 3 or index in (0, 15):
        return 0
    kilobits = _KILOBITS[1 if version == 1 else 2, layer if version == 1 else min(layer, 2)][index]
    hertz = (44100, 48000, 32000)[rate] // {1: 1, 2: 2, 2.5: 4}[version]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return (12_000 * kilobits // hertz + padding) * 4
    return (72_000 if layer == 3 and version != 1 else 144_000) * kilobits // hertz + padding


def _adts(head: bytes) -> int:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length >= 7 else 0


def _ac3(head: bytes) -> int:
    if len(head) < 6 or head[:2] != b"\x0b\x77":
        return 0
    if head[5] >> 3 > 10:  # E-AC-3
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, index = head[4] >> 6, head[4] & 63
    if rate == 3 or index >= 2 * len(_AC3_KILOBITS):
        return 0
    words = 96_000 * _AC3_KILOBITS[index // 2] // (48000, 44100, 32000)[rate]
    return 2 * (words + (index % 2 if rate == 1 else 0))


def _dts(head: bytes) -> int:
    if len(head) < 8 or head[:4] != b"\x7f\xfe\x80\x01":
        return 0
    return ((head[5] & 3) << 12 | head[6] << 4 | head[7] >> 4) + 1


_KINDS = (Syntax(_adts), Syntax(_ac3), Syntax(_dts), Syntax(_mpeg, chains=True))
