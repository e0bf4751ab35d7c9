"""Base of the callbacks that keep audio of the first few songs of `test`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mdx_progressive.data import ChunkLength, Origin
from mdx_progressive.engine.module import ProgressiveDemixing, Sound, TestOutput


class FirstSongs(Callback, ABC):
    """Passes on the first chunk of each of the first songs, in the first process.

    Args:
        songs: How many songs.
        seconds: How much of each, at most.
    """

    def __init__(self, songs: int, seconds: float) -> None:
        self.songs = songs
        self.seconds = seconds
        self._seen: set[str] = set()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen.clear()

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int
    ) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        output: TestOutput = outputs
        sound = output["sound"]
        if sound is None or not trainer.is_global_zero:
            return
        for item, origin in enumerate(output["batch"].origins):
            if origin.song not in self._seen and len(self._seen) < self.songs:
                self._seen.add(origin.song)
                chunk = Sound._make(None if waveforms is None else waveforms[item].float().cpu() for waveforms in sound)
                self.add_song(trainer, pl_module, origin, chunk)

    def disk(self, module: ProgressiveDemixing, extents: Sequence[ChunkLength]) -> int:
        """Bytes that it is going to write of these chunks, roughly."""
        first: dict[str, float] = {}
        for extent in extents:
            first.setdefault(extent.song, min(extent.seconds, self.seconds))
        return int(sum(list(first.values())[: self.songs]) * self.bytes_per_second(module))

    @abstractmethod
    def bytes_per_second(self, module: ProgressiveDemixing) -> float:
        """Bytes that all clips of a second of a song take."""

    @abstractmethod
    def add_song(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, sound: Sound) -> None:
        """Keep audio of a song, given that of a chunk on the CPU, without the axis of the batch."""
