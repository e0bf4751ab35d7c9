"""The callback that collects songs that failed, so that the others are done and none is forgotten at the end."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mdx_progressive.data import ChunkBatch, Failure
from mdx_progressive.engine.callbacks.run_context import song_datamodule
from mdx_progressive.runtime import MdxError, all_gather

log = logging.getLogger(__name__)


class FailureCollector(Callback):
    """Collects the songs that could not be read or written, of all processes, in the data module's `failures`.

    Args:
        fail_fast: Stop at the first of them.

    Raises:
        MdxError: At the first of them, with `fail_fast`.
    """

    def __init__(self, fail_fast: bool = False) -> None:
        self.fail_fast = fail_fast
        self.listeners: list[Callable[[Failure], None]] = []
        """Called with each failure."""
        self._failures: dict[str, Failure] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._failures = {}
        self._collect_from(trainer)

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *index: int) -> None:
        self._collect_from_batch(batch)

    def on_predict_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, *index: int) -> None:
        self._collect_from_batch(batch)

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self._collect_from(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the failures of all processes."""
        self._collect_from(trainer)
        failures = all_gather(self._failures, trainer.world_size)
        if datamodule := song_datamodule(trainer):
            datamodule.failures = list({song: each for process in failures for song, each in process.items()}.values())

    on_predict_epoch_end = on_test_epoch_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Tell what has failed so far: the end, where it would be told, is not reached."""
        for failure in self._failures.values():
            log.warning("left out: %s", failure.line)

    def _collect_from_batch(self, batch: Any) -> None:
        if isinstance(batch, ChunkBatch):  # A loader of waveforms knows of no songs.
            self._collect(batch.failures)

    def _collect_from(self, trainer: Trainer) -> None:
        if datamodule := song_datamodule(trainer):
            self._collect(datamodule.failures)

    def _collect(self, failures: Iterable[Failure]) -> None:
        for failure in failures:
            for listener in self.listeners if failure.song not in self._failures else []:
                listener(failure)
            if self.fail_fast:
                raise MdxError(failure.line)
            self._failures.setdefault(failure.song, failure)
