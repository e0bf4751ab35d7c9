"""The first few songs of `test`, for callbacks that let them be heard."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mdx_progressive.data import ChunkLength, Origin
from mdx_progressive.engine.module import ProgressiveDemixing, Sound, TestOutput


class FirstSongs(Callback, ABC):
    """Hears the first chunk of each of the first songs, in the first process.

    Args:
        songs: How many songs.
        seconds: How much of each, at most.
    """

    def __init__(self, songs: int, seconds: float) -> None:
        self.songs = songs
        self.seconds = seconds
        self.heard: set[str] = set()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.heard.clear()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        output: TestOutput = outputs
        sound = output["sound"]
        if sound is None or not trainer.is_global_zero:
            return
        for item, origin in enumerate(output["batch"].origins):
            if origin.song not in self.heard and len(self.heard) < self.songs:
                self.heard.add(origin.song)
                one = Sound._make(None if part is None else part[item].float().cpu() for part in sound)
                self.hear(trainer, pl_module, origin, one)

    def disk(self, module: ProgressiveDemixing, extents: Sequence[ChunkLength]) -> int:
        """Bytes that it is going to write, roughly.

        Args:
            module: What is run.
            extents: The chunks, in order.
        """
        first: dict[str, float] = {}
        for extent in extents:
            first.setdefault(extent.song, min(extent.seconds, self.seconds))
        return int(sum(list(first.values())[: self.songs]) * self.bytes_per_second(module))

    @abstractmethod
    def bytes_per_second(self, module: ProgressiveDemixing) -> float:
        """Bytes that a second of a song takes, with all its takes."""

    @abstractmethod
    def hear(self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, sound: Sound) -> None:
        """Take in a chunk.

        Args:
            trainer: The trainer.
            module: What was run.
            origin: Where the chunk comes from.
            sound: What there is to hear of it, on the CPU, without the axis of the batch.
        """
