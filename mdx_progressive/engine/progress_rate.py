"""Progress of `predict`: how much is done, how fast, and the time left."""

import time
from collections.abc import Sequence

from mdx_progressive.data import Origin


class ProgressRate:
    """The progress of a process through its blocks.

    Args:
        origins: The blocks of this process.
        sample_rate: The separator's sample rate in Hz.
        crossfade: Length of the crossfade between blocks in samples.
    """

    def __init__(self, origins: Sequence[Origin], sample_rate: int, crossfade: int) -> None:
        self.sample_rate = sample_rate
        self.crossfade = crossfade
        self.total = sum(self.audio_seconds(origin) for origin in origins)
        """Seconds of audio in all blocks."""
        self.done = 0.0
        """Seconds of audio in the blocks that are done."""
        self._work_total = sum(self._work(origin) for origin in origins)
        self._work_done = 0.0
        self._begin = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begin

    @property
    def speed(self) -> float:
        """Seconds of audio that are done per second: how many times real time."""
        return self.done / self.elapsed

    def audio_seconds(self, origin: Origin) -> float:
        """The seconds that a block adds to its song: those of all blocks add up to the length of the song."""
        if origin.block is None:
            return origin.length / origin.sample_rate
        crossfade = self.crossfade if origin.chunk + 1 < origin.blocks else 0
        return (origin.block.end - origin.block.begin - crossfade) / self.sample_rate

    def add(self, origin: Origin) -> None:
        """Count a block as done."""
        self.done += self.audio_seconds(origin)
        self._work_done += self._work(origin)

    def share(self, origin: Origin | None = None, part: float = 0.0) -> float:
        """The share of all work that is done, from 0 to 1, with a part of the block that is being separated."""
        done = self._work_done + (part * self._work(origin) if origin else 0.0)
        return done / self._work_total if self._work_total else 1.0

    def time_left(self, origin: Origin | None = None, part: float = 0.0) -> float | None:
        """Estimated seconds left at the current speed; None before anything is done.

        Args:
            origin: The block that is being separated.
            part: The part of it that is done, from 0 to 1.
        """
        share = self.share(origin, part)
        return self.elapsed * (1 - share) / share if share else None

    def _work(self, origin: Origin) -> float:
        """Seconds that go through the network: with the context of the block, for each pair of channels."""
        if origin.block is None:
            return self.audio_seconds(origin)
        return len(origin.pairs.groups) * (origin.block.stop - origin.block.start) / self.sample_rate


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whatever reads best.

    Example:
        >>> duration(59), duration(130), duration(3000), duration(30000)
        ('59 s', '2 min 10 s', '50 min', '8.3 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
