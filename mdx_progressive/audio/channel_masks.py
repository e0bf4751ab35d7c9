"""Which speaker each channel of a file is for: what libsndfile does not let us tell is written into its headers."""

import os
from collections.abc import Sequence
from pathlib import Path

_SPEAKERS = (
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR",
)  # fmt: skip
"""FFmpeg's names of the bits of a channel mask, from the lowest (dwChannelMask of WAVEFORMATEXTENSIBLE)."""
_MASK = 20
"""Where the mask lies in the fmt chunk of WAVEFORMATEXTENSIBLE."""
_TAG = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x{:04x}"
FLAC_ROOM = "?" * (len(_TAG.format(0)) - len("license="))
"""What a flac has as its licence until that gives way to its mask (RFC 9639, 8.6.2), which is as long."""


def channel_mask(layout: Sequence[str] | None) -> int:
    """The speakers of the channels, in one number; 0 where they are not known, or a mask can't tell them.

    Args:
        layout: FFmpeg's names of the channels (FL, FR, FC, LFE, ...), in their order.

    Example:
        >>> hex(channel_mask(["FL", "FR", "FC", "LFE", "SL", "SR"]))
        '0x60f'
        >>> channel_mask(["FC", "FL", "FR"]), channel_mask(["WL", "WR", "FC"]), channel_mask(None)
        (0, 0, 0)
    """
    if layout is None or not set(layout) <= set(_SPEAKERS):
        return 0
    bits = [_SPEAKERS.index(name) for name in layout]
    # The channels of a file with a mask are in the order of its bits.
    return sum(1 << bit for bit in bits) if bits == sorted(set(bits)) else 0


def finish_wav(path: Path, mask: int | None) -> None:
    """Put the header of a wav right that libsndfile has written.

    Beside the peak of a float file it writes the time of day; equal estimates should make equal files.

    Args:
        path: A plain wav, WAVEX or RF64.
        mask: The channel mask of the latter two; None to leave it as it is.
    """
    with path.open("r+b") as file:
        file.seek(12)
        while (head := file.read(8)) and head[:4] != b"data":
            start, size = file.tell(), int.from_bytes(head[4:], "little")
            if head[:4] == b"PEAK":
                file.seek(4, os.SEEK_CUR)
                file.write(bytes(4))
            elif head[:4] == b"fmt " and size >= _MASK + 4 and mask is not None:
                file.seek(_MASK, os.SEEK_CUR)
                file.write(mask.to_bytes(4, "little"))
            file.seek(start + size + size % 2)


def finish_flac(path: Path, mask: int) -> None:
    """Put a channel mask into the comments of a flac, where `FLAC_ROOM` is its licence."""
    with path.open("r+b") as file:
        file.seek(4)
        last = False
        while not last:
            head = file.read(4)
            start, last, size = file.tell(), bool(head[0] & 0x80), int.from_bytes(head[1:], "big")
            if head[0] & 0x7F == 4:  # The block of comments
                place = file.read(size).find(f"license={FLAC_ROOM}".encode())
                if place >= 0:
                    file.seek(start + place)
                    file.write(_TAG.format(mask).encode())
            file.seek(start + size)
