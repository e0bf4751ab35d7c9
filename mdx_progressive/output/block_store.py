"""Estimates of blocks on disk, until all blocks of a chunk are there to be joined."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdx_progressive.dsp import join_blocks
from mdx_progressive.runtime import atomic_write


class BlockStore:
    """What the blocks of one chunk stand for, a file for each.

    Args:
        folder: Where the files lie; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, number: int, part: Tensor) -> None:
        """Keep what a block stands for, in float32.

        Args:
            number: Number of the block.
            part: Its estimates (..., time), without what it only heard.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self._file(number)) as temporary, temporary.open("wb") as file:
            np.save(file, part.float().contiguous().cpu().numpy(), allow_pickle=False)

    def has(self, number: int) -> bool:
        """Whether a block is there."""
        return os.path.exists(self._file(number))

    def joined(self, count: int, crossfade: int) -> Iterator[Tensor]:
        """All blocks made one, piece by piece (..., time); one block at a time is in memory.

        Args:
            count: How many blocks there are.
            crossfade: Samples over which they crossfade into each other.
        """
        return join_blocks((self._get(number) for number in range(count)), crossfade)

    def remove(self) -> None:
        """Remove the files, and what a process that was killed has left of one."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _get(self, number: int) -> Tensor:
        path = self._file(number)
        try:
            return torch.from_numpy(np.load(path, allow_pickle=False))
        except (ValueError, EOFError) as error:
            path.unlink()
            raise OSError(f"{path}: was damaged ({error}); the same command makes it again") from error

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.npy"
