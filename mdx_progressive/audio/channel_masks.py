"""Channel masks: which speaker each channel of a file is for, in the headers that libsndfile writes without one."""

import os
from collections.abc import Sequence
from pathlib import Path

_SPEAKERS = (
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR",
)  # fmt: skip
"""FFmpeg's names of the bits of a channel mask, from the lowest (dwChannelMask of WAVEFORMATEXTENSIBLE)."""
_MASK_OFFSET = 20
"""Where the mask lies in the fmt chunk of WAVEFORMATEXTENSIBLE."""
MASK_COMMENT = "WAVEFORMATEXTENSIBLE_CHANNEL_MASK"
"""The comment of a flac that holds its mask (RFC 9639, 8.6.2)."""


def channel_mask(layout: Sequence[str] | None) -> int:
    """The speakers of the channels in one number; 0 where they are unknown, or no mask can express them.

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
    """Remove the time of day, which libsndfile writes beside the peak of a float file, and set the channel mask.

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
            elif head[:4] == b"fmt " and size >= _MASK_OFFSET + 4 and mask is not None:
                file.seek(_MASK_OFFSET, os.SEEK_CUR)
                file.write(mask.to_bytes(4, "little"))
            file.seek(start + size + size % 2)
