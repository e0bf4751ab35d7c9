"""Estimates of blocks on disk, until all blocks of a song or chunk are there to be joined."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0
from torch import Tensor

from mdx_progressive.dsp import join_blocks
from mdx_progressive.runtime import atomic_write

_CHECKSUM = 4
"""Bytes at the end of a file, behind what `np.load` reads."""
_PIECE = 1 << 20


@dataclass(frozen=True)
class BlockStore:
    """The estimates of the blocks of one chunk in a folder, each in a file that is written atomically."""

    folder: Path

    def put(self, number: int, estimates: Tensor) -> None:
        """Store the estimates (..., time) of a block, without its context, in float32."""
        self.folder.mkdir(parents=True, exist_ok=True)
        samples = estimates.float().contiguous().cpu().numpy()
        with atomic_write(self._file(number)) as temporary, temporary.open("wb") as file:
            # Not `np.save`: of a full disk it tells only how many samples were written.
            header = BytesIO()
            write_array_header_1_0(header, header_data_from_array_1_0(samples))
            file.write(header.getvalue())
            file.write(samples.data)
            file.write(crc32(samples.data, crc32(header.getvalue())).to_bytes(_CHECKSUM, "little"))

    def has(self, number: int) -> bool:
        """Whether a block is there."""
        return os.path.exists(self._file(number))

    def discard_damaged(self, number: int) -> bool:
        """Remove a block that is there, but not as it was written; returns whether it was."""
        path = self._file(number)
        if not self.has(number) or _is_whole(path):
            return False
        path.unlink()
        return True

    def joined(self, count: int, crossfade: int) -> Iterator[Tensor]:
        """The estimates of all `count` blocks joined, piece by piece (..., time); one block at a time is in memory."""
        return join_blocks((self._read(number) for number in range(count)), crossfade)

    def remove(self) -> None:
        """Remove the files, and temporary ones of a process that was killed."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, number: int) -> Tensor:
        path = self._file(number)
        if self.discard_damaged(number):
            raise OSError(f"{path}: is damaged; the same command separates it again")
        return torch.from_numpy(np.load(path, allow_pickle=False))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.npy"


def _is_whole(path: Path) -> bool:
    """Whether the checksum of a file is that of what lies before it."""
    left, checksum = path.stat().st_size - _CHECKSUM, 0
    with path.open("rb") as file:
        while left > 0 and (piece := file.read(min(left, _PIECE))):
            checksum = crc32(piece, checksum)
            left -= len(piece)
        return not left and file.read() == checksum.to_bytes(_CHECKSUM, "little")
