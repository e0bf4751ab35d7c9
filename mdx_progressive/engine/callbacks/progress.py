"""The progress bars on the terminal: one over the batches, and below it the song and the steps of its methods."""

import sys
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from mdx_progressive.data import ChunkBatch, Origin
from mdx_progressive.engine.callbacks.run_context import song_datamodule
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.engine.progress_rate import ProgressRate, duration


class StepProgressBar(TQDMProgressBar):
    """Lightning's bar over the batches, and one over the passes that each of them takes.

    They are on stderr, and only where that is a terminal: in a log file every refresh would be a line.
    """

    def __init__(self) -> None:
        super().__init__(leave=True)
        self._passes: Tqdm | None = None
        self._rate: ProgressRate | None = None
        self._block: Origin | None = None
        self._step: tuple[int, int] | None = None
        """In `predict` the number of the current step, and of the last."""

    def init_test_tqdm(self) -> Tqdm:
        return self._bar(desc=self.test_description, bar_format=self.BAR_FORMAT, dynamic_ncols=True)

    def init_predict_tqdm(self) -> Tqdm:
        # A rate of batches says little, as they are of any length.
        bar_format = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} blocks, {elapsed}{postfix}"
        return self._bar(bar_format=bar_format, dynamic_ncols=True)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_start(trainer, pl_module)
        self._listen(pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_predict_start(trainer, pl_module)
        module = self._listen(pl_module)
        if self._count_step not in module.step_listeners:
            module.step_listeners.append(self._count_step)
        if datamodule := song_datamodule(trainer):
            self._rate = ProgressRate(datamodule.own_plan(), module.separator.sample_rate, module.separator.crossfade)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        super().on_test_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)
        assert isinstance(pl_module, ProgressiveDemixing)
        blocks = len(batch.blocks) if isinstance(batch, ChunkBatch) else 1
        self._begin(_origins(batch), pl_module.passes * blocks)

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        super().on_predict_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)
        assert isinstance(pl_module, ProgressiveDemixing)
        origins = _origins(batch)
        self._block = next(iter(origins), None)
        self._step = 0, pl_module.method.steps
        self._begin(origins, pl_module.method.passes)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._end()
        super().on_test_batch_end(*args, **kwargs)

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._end()
        if self._rate and self._block:
            self._rate.add(self._block)
            self._block = None
            self._show_rate(self._rate)
        super().on_predict_batch_end(*args, **kwargs)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end()

    def _listen(self, module: LightningModule) -> ProgressiveDemixing:
        assert isinstance(module, ProgressiveDemixing)
        if self._show_passes not in module.pass_listeners:
            module.pass_listeners.append(self._show_passes)
        return module

    def _begin(self, origins: Sequence[Origin], passes: int) -> None:
        songs = ", ".join(dict.fromkeys(_name(origin) for origin in origins))
        self._passes = self._bar(desc=songs, total=passes, unit="pass", leave=False, position=1)

    def _bar(self, **settings: Any) -> Tqdm:
        # None shows it on a terminal only.
        return Tqdm(**settings, disable=True if self.is_disabled else None, file=sys.stderr)

    def _show_passes(self, method: str, passes: int) -> None:
        if self._passes is not None:
            step = f", step {self._step[0]}/{self._step[1]}" if self._step else ""
            self._passes.set_postfix_str(f"{method}{step}", refresh=False)
            self._passes.update(passes)
            if self._rate and self._block:
                self._show_rate(self._rate, self._passes.n / (self._passes.total or 1))

    def _count_step(self, step: int) -> None:
        assert self._step is not None
        self._step = min(step + 1, self._step[1]), self._step[1]

    def _show_rate(self, rate: ProgressRate, done: float = 0.0) -> None:
        """Show the rate of the run, with a part of the current block done."""
        left = rate.time_left(self._block, done)
        texts = [f"{rate.real_time_factor:.1f}x real time"] if rate.done else []
        texts += [f"{duration(left)} left"] if left is not None else []
        self.predict_progress_bar.set_postfix_str(", ".join(texts))

    def _end(self) -> None:
        if self._passes is not None:
            self._passes.close()
            self._passes = None


def _origins(batch: Any) -> Sequence[Origin]:
    """Where the chunks of a batch come from; nowhere if a loader of waveforms has made it."""
    return batch.origins if isinstance(batch, ChunkBatch) else ()


def _name(origin: Origin) -> str:
    """The song, and which of its blocks it is if there are several."""
    return origin.song if origin.blocks == 1 else f"{origin.song} {origin.chunk + 1}/{origin.blocks}"
