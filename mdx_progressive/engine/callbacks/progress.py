"""The progress of a run: one bar on a terminal, which moves with every pass, and a line a minute elsewhere."""

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm.auto import tqdm

from mdx_progressive.data import ChunkBatch, Origin
from mdx_progressive.engine.callbacks.run_context import song_datamodule
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.engine.progress_rate import ProgressRate, duration
from mdx_progressive.runtime import escape_unprintable

log = logging.getLogger(__name__)

_FORMAT = "{percentage:3.0f}%|{bar}| {elapsed}{postfix}"
_BETWEEN_LINES = 60.0
"""Seconds between two lines where there is no terminal: in a file every refresh of a bar would be a line."""
_WORTH_TELLING = 60.0
"""Seconds left after the first batch from which on a line tells them at once: nothing measures the pace before it."""


class StepProgressBar(ProgressBar):
    """One bar over all passes of a run, with the song, the method and its step, the rate and the time left."""

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._bar: tqdm[Any] | None = None
        self._rate: ProgressRate | None = None
        self._block: Origin | None = None
        self._batches = 0
        self._batches_done = 0
        self._passes = 0
        self._passes_done = 0
        self._songs = ""
        self._step: tuple[int, int] | None = None
        """In `predict` the number of the current step, and of the last."""
        self._begin = self._last_line = time.perf_counter()

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rate = None
        self._start(pl_module, trainer.num_test_batches)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = self._start(pl_module, trainer.num_predict_batches)
        if self._count_step not in module.step_listeners:
            module.step_listeners.append(self._count_step)
        datamodule = song_datamodule(trainer)
        if datamodule is None:
            self._rate = None
            return
        self._rate = ProgressRate(datamodule.own_plan(), module.separator.sample_rate, module.separator.crossfade)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        self._step = None
        blocks = len(batch.blocks) if isinstance(batch, ChunkBatch) else 1
        self._start_batch(_origins(batch), pl_module.passes * blocks)

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        origins = _origins(batch)
        self._block = next(iter(origins), None)
        self._step = 0, pl_module.method.steps
        self._start_batch(origins, pl_module.passes_of(pl_module.method))

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._end_batch()

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self._rate and self._block:
            self._rate.add(self._block)
            self._block = None
        self._end_batch()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _start(self, module: LightningModule, batches: Sequence[float]) -> ProgressiveDemixing:
        assert isinstance(module, ProgressiveDemixing)
        if self._count_passes not in module.pass_listeners:
            module.pass_listeners.append(self._count_passes)
        self._batches, self._batches_done = int(sum(batches)), 0
        self._begin = self._last_line = time.perf_counter()
        if self._enabled:
            # None shows it on a terminal only.
            self._bar = tqdm(total=1.0, bar_format=_FORMAT, disable=None, file=sys.stderr, dynamic_ncols=True)
        return module

    def _start_batch(self, origins: Sequence[Origin], passes: int) -> None:
        self._songs = escape_unprintable(", ".join(dict.fromkeys(_name(origin) for origin in origins)))
        self._passes, self._passes_done = passes, 0
        self._show("")

    def _end_batch(self) -> None:
        self._batches_done += 1
        self._passes_done = 0
        if self._batches_done == 1 and (left := self._time_left()) and left >= _WORTH_TELLING:
            self._last_line -= _BETWEEN_LINES
        self._show("")

    def _count_passes(self, method: str, passes: int) -> None:
        self._passes_done += passes
        self._show(f"{method}{f', step {self._step[0]}/{self._step[1]}' if self._step else ''}")

    def _count_step(self, step: int) -> None:
        assert self._step is not None
        self._step = min(step + 1, self._step[1]), self._step[1]

    def _show(self, method: str) -> None:
        """Move the bar to where the run is, with the texts behind it."""
        if self._bar is None:
            return
        share = self._share()
        left = self._time_left()
        texts = [text for text in (self._songs, method) if text]
        if self._rate and self._rate.done:
            texts.append(f"{self._rate.speed:.1f}x real time")
        if left is not None:
            texts.append(f"{duration(left)} left")
        self._bar.n = share
        self._bar.set_postfix_str(", ".join(texts))
        if self._bar.disable and time.perf_counter() - self._last_line > _BETWEEN_LINES:
            self._last_line = time.perf_counter()
            log.info("%.0f %%: %s", 100 * share, ", ".join(texts))

    def _share(self) -> float:
        """The share of the run that is done, from 0 to 1."""
        part = min(1.0, self._passes_done / self._passes) if self._passes else 0.0
        if self._rate:
            return self._rate.share(self._block, part)
        return min(1.0, (self._batches_done + part) / self._batches) if self._batches else 1.0

    def _time_left(self) -> float | None:
        """Seconds left at the pace so far; None before anything is done."""
        share = self._share()
        return (time.perf_counter() - self._begin) * (1 - share) / share if share else None

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _origins(batch: Any) -> Sequence[Origin]:
    """Where the chunks of a batch come from; nowhere if a loader of waveforms has made it."""
    return batch.origins if isinstance(batch, ChunkBatch) else ()


def _name(origin: Origin) -> str:
    """The song, and which of its blocks it is if there are several."""
    return origin.song if origin.blocks == 1 else f"{origin.song} {origin.chunk + 1}/{origin.blocks}"
