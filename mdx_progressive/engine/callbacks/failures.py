"""Songs that could not be done: brought together, so that the others go on and nothing is forgotten at the end."""

import logging
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mdx_progressive.data import Failure
from mdx_progressive.engine.callbacks.run_context import datamodule_of
from mdx_progressive.runtime import MdxError, all_gather

log = logging.getLogger(__name__)


class Failures(Callback):
    """Collects the songs that could not be read or written, of all processes, in the data module's `failures`.

    Args:
        fail_fast: Stop at the first of them.

    Raises:
        MdxError: At the first of them, with `fail_fast`.
    """

    def __init__(self, fail_fast: bool = False) -> None:
        self.fail_fast = fail_fast
        self.watchers: list[Callable[[Failure], None]] = []
        """Told of each song that is left out."""
        self._found: dict[str, Failure] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._found = {}
        if datamodule := datamodule_of(trainer):
            self._collect(datamodule.failures, aloud=trainer.is_global_zero)  # All processes have found the same.

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._collect(batch.failures)

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._collect(batch.failures)

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if datamodule := datamodule_of(trainer):
            self._collect(datamodule.failures)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bring_together(trainer)

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bring_together(trainer)

    def _collect(self, failures: list[Failure], aloud: bool = True) -> None:
        for failure in failures:
            if failure.song not in self._found:
                for watch in self.watchers:
                    watch(failure)
            if self.fail_fast:
                raise MdxError(failure.line)
            if failure.song not in self._found and aloud:
                log.warning("left out: %s", failure.line)
            self._found.setdefault(failure.song, failure)

    def _bring_together(self, trainer: Trainer) -> None:
        if datamodule := datamodule_of(trainer):
            self._collect(datamodule.failures)
        found = all_gather(self._found, trainer.world_size)
        if datamodule := datamodule_of(trainer):
            datamodule.failures = list({song: failure for each in found for song, failure in each.items()}.values())
