"""Estimates of blocks on disk, until all blocks of a chunk are there to be joined."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdx_progressive.blocks import joined
from mdx_progressive.whole_file import whole_file


class Parts:
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
        with whole_file(self._file(number)) as temporary, temporary.open("wb") as file:
            np.save(file, part.float().contiguous().cpu().numpy(), allow_pickle=False)

    def has(self, number: int) -> bool:
        """Whether a block is there."""
        return self._file(number).exists()

    def joined(self, count: int, fade: int) -> Iterator[Tensor]:
        """All blocks made one, piece by piece (..., time); one block at a time is in memory.

        Args:
            count: How many blocks there are.
            fade: Samples over which they fade into each other.
        """
        return joined((self._get(number) for number in range(count)), fade)

    def remove(self) -> None:
        """Remove the files."""
        for path in self.folder.glob("*.npy"):
            path.unlink()
        if self.folder.exists():
            self.folder.rmdir()

    def _get(self, number: int) -> Tensor:
        return torch.from_numpy(np.load(self._file(number), allow_pickle=False))

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.npy"
