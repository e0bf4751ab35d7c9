"""Base of the callbacks that keep audio of the first few songs of `test`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mdx_progressive.data import ChunkBatch, ChunkLength, Origin
from mdx_progressive.engine.module import ProgressiveDemixing, Sound, TestOutput
from mdx_progressive.progressive import Method


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
        self._heard: set[str] = set()
        self._samples = 0
        self._last: dict[str, Tensor] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        self._seen.clear()
        self._heard = {method.name for method in self.heard(pl_module)}
        self._samples = int(self.seconds * pl_module.separator.sample_rate)
        if trainer.is_global_zero and self._keep_last not in pl_module.last_step_listeners:
            pl_module.last_step_listeners.append(self._keep_last)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int
    ) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        output: TestOutput = outputs
        sound = output["sound"]
        if sound is None or not trainer.is_global_zero:
            return
        for item in self._new_songs(output["batch"]):
            origin = output["batch"].origins[item]
            self._seen.add(origin.song)
            chunk = Sound._make(waveforms[item].float().cpu() for waveforms in sound)
            last = {name: estimates[item] for name, estimates in self._last.items()}
            self.add_song(trainer, pl_module, origin, chunk, last)
        self._last.clear()

    def _keep_last(self, batch: ChunkBatch, method: Method, estimates: Tensor) -> None:
        """Copy the beginning of what will be heard, before the next method runs: whole chunks of all would add up."""
        if method.name in self._heard and self._new_songs(batch):
            beginning = estimates[..., : self._samples] / batch.gain[:, None, None, None]
            self._last[method.name] = beginning.float().cpu()

    def _new_songs(self, batch: ChunkBatch) -> list[int]:
        """The items of a batch that are the first ones of songs that are wanted."""
        items: dict[str, int] = {}
        for item, origin in enumerate(batch.origins):
            if origin.song not in self._seen:
                items.setdefault(origin.song, item)
        return list(items.values())[: max(0, self.songs - len(self._seen))]

    def disk(self, module: ProgressiveDemixing, extents: Sequence[ChunkLength]) -> int:
        """Bytes that it is going to write of these chunks, roughly."""
        first: dict[str, float] = {}
        for extent in extents:
            first.setdefault(extent.song, min(extent.seconds, self.seconds))
        return int(sum(list(first.values())[: self.songs]) * self.bytes_per_second(module))

    @abstractmethod
    def heard(self, module: ProgressiveDemixing) -> Sequence[Method]:
        """The methods whose last step `add_song` gets."""

    @abstractmethod
    def bytes_per_second(self, module: ProgressiveDemixing) -> float:
        """Bytes that all clips of a second of a song take."""

    @abstractmethod
    def add_song(
        self, trainer: Trainer, module: ProgressiveDemixing, origin: Origin, sound: Sound, last: Mapping[str, Tensor]
    ) -> None:
        """Keep audio of a song.

        Args:
            trainer: The trainer.
            module: The module.
            origin: The chunk.
            sound: Its audio on the CPU, without the axis of the batch.
            last: By the name of each method that is `heard` the beginning of the estimates of its last step, of
                `seconds` at most, (target, channel, time).
        """
