"""How far `predict` is, how fast, and how long it goes on."""

import time
from collections.abc import Sequence

from mdx_progressive.data import Origin


class ProgressRate:
    """The blocks that a process separates, and how many of them are done.

    Args:
        origins: Its blocks.
        sample_rate: The separator's sample rate in Hz.
        crossfade: Samples over which blocks crossfade into each other.
    """

    def __init__(self, origins: Sequence[Origin], sample_rate: int, crossfade: int) -> None:
        self.sample_rate = sample_rate
        self.crossfade = crossfade
        self.total = sum(self.music(origin) for origin in origins)
        """Seconds of music in all of them."""
        self.done = 0.0
        """Seconds of music in those that are done."""
        self._ahead = sum(self._work(origin) for origin in origins)
        self._behind = 0.0
        self._begin = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since it was made."""
        return time.perf_counter() - self._begin

    @property
    def real_time_factor(self) -> float:
        """Seconds of music that are done in a second."""
        return self.done / self.elapsed

    def music(self, origin: Origin) -> float:
        """The seconds that a block adds to its song; all blocks of a song are as long as the song together."""
        if origin.block is None:
            return origin.length / origin.sample_rate
        crossfade = self.crossfade if origin.chunk + 1 < origin.blocks else 0
        return (origin.block.end - origin.block.begin - crossfade) / self.sample_rate

    def add(self, origin: Origin) -> None:
        """Note that a block is done."""
        self.done += self.music(origin)
        self._behind += self._work(origin)

    def time_left(self, origin: Origin | None = None, part: float = 0.0) -> float | None:
        """How many seconds it goes on, if it does not become faster or slower; None before it can be told.

        Args:
            origin: The block that is being separated.
            part: How much of it is done, from 0 to 1.
        """
        behind = self._behind + (part * self._work(origin) if origin else 0.0)
        return self.elapsed * (self._ahead - behind) / behind if behind else None

    def _work(self, origin: Origin) -> float:
        """Seconds that go through the network: what is only heard too, and each pair of channels for itself."""
        if origin.block is None:
            return self.music(origin)
        return len(origin.pairs.groups) * (origin.block.stop - origin.block.start) / self.sample_rate


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whatever reads best.

    Example:
        >>> duration(59), duration(3000), duration(30000)
        ('59 s', '50 min', '8.3 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
