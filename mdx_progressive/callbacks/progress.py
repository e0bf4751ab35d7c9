"""Progress on the terminal: a bar over the batches, and below it the song and the steps of its methods."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from mdx_progressive.batch import ChunkBatch, Origin
from mdx_progressive.module import ProgressiveDemixing


class StepProgressBar(TQDMProgressBar):
    """Lightning's bar over the batches, and one over the passes that each of them takes."""

    def __init__(self) -> None:
        super().__init__(leave=True)
        self._passes: Tqdm | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_test_start(trainer, pl_module)
        self._watch(pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_predict_start(trainer, pl_module)
        self._watch(pl_module)

    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        super().on_test_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)
        assert isinstance(pl_module, ProgressiveDemixing)
        self._begin(batch, pl_module.passes * len(batch.blocks))

    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        super().on_predict_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)
        assert isinstance(pl_module, ProgressiveDemixing)
        self._begin(batch, pl_module.method.passes)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._end()
        super().on_test_batch_end(*args, **kwargs)

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._end()
        super().on_predict_batch_end(*args, **kwargs)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end()

    def _watch(self, module: LightningModule) -> None:
        assert isinstance(module, ProgressiveDemixing)
        if self._show not in module.watchers:
            module.watchers.append(self._show)

    def _begin(self, batch: ChunkBatch, passes: int) -> None:
        songs = ", ".join(dict.fromkeys(_name(origin) for origin in batch.origins))
        # None shows it on a terminal only: in a log file every refresh would be a line.
        disable = True if self.is_disabled else None
        self._passes = Tqdm(desc=songs, total=passes, unit="pass", leave=False, disable=disable, position=1)

    def _show(self, method: str, passes: int) -> None:
        if self._passes is not None:
            self._passes.set_postfix_str(method, refresh=False)
            self._passes.update(passes)

    def _end(self) -> None:
        if self._passes is not None:
            self._passes.close()
            self._passes = None


def _name(origin: Origin) -> str:
    """The song, and which of its blocks it is if there are several."""
    return origin.song if origin.blocks == 1 else f"{origin.song} {origin.chunk + 1}/{origin.blocks}"
