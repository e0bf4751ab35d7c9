"""What TensorBoard shows of `test`: a curve per method over the steps, the bounds chart, and sound."""

from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from mdx_progressive.module import ProgressiveDemixing, TestOutput
from mdx_progressive.plots import LABELS, curves_figure
from mdx_progressive.results import pick


class TensorBoardCurves(Callback):
    """Logs the curves with the step number on the x axis, each method as a run of its own below the run's
    folder: one-pass, oracle and all methods then lie in one chart, in the scalars as in the custom scalars.

    Args:
        songs: How many songs are logged as sound: mixture, one-pass, best step and reference.
        seconds: How much of each, at most.
    """

    def __init__(self, songs: int = 1, seconds: float = 30.0) -> None:
        self.songs = songs
        self.seconds = seconds
        self._heard: set[str] = set()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._heard.clear()

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
        writer = _writer(trainer)
        output: TestOutput = outputs
        sound = output["sound"]
        if writer is None or sound is None:
            return
        rate = pl_module.separator.sample_rate
        for item, origin in enumerate(output["batch"].origins):
            if origin.song in self._heard or len(self._heard) == self.songs:
                continue
            self._heard.add(origin.song)
            takes = {"mixture": sound.mixture[item]}
            for number, target in enumerate(pl_module.targets):
                takes[f"{target}/one-pass"] = sound.one_pass[item, number]
                takes[f"{target}/best step ({int(sound.best_step[item, number])})"] = sound.best[item, number]
                takes[f"{target}/reference"] = sound.references[item, number]
            for tag, waveform in takes.items():
                writer.add_audio(f"{origin.song}/{tag}", self._playable(waveform, rate), sample_rate=rate)

    def _playable(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """The beginning of a waveform (channel, time), for TensorBoard's players: mono, within full scale."""
        mono = waveform[:, : int(self.seconds * sample_rate)].mean(dim=0)
        return (mono / mono.abs().max().clamp(min=1)).cpu()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        writer = _writer(trainer)
        comparison = pl_module.comparison
        if writer is None or comparison is None:
            return
        means = comparison.means
        metrics = list(means["metric"].unique())
        last = max(method.steps for method in pl_module.methods)
        for method in pl_module.methods:
            with SummaryWriter(str(Path(writer.log_dir) / method.name)) as curve_writer:
                for metric in metrics:
                    for source in pl_module.targets:
                        for step, value in _over(pick(means, metric, method.name, source)["mean"], last):
                            curve_writer.add_scalar(f"{metric}/{source}", value, step)
        layout = {
            LABELS.get(metric, metric): {source: ["Multiline", [f"{metric}/{source}$"]] for source in pl_module.targets}
            for metric in metrics
        }
        writer.add_custom_scalars(layout)
        for metric in metrics:
            writer.add_figure(f"curves/{metric}", curves_figure(comparison, metric))
        writer.flush()


def _over(curve: "pd.Series[float]", last: int) -> list[tuple[int, float]]:
    """The points of a curve; a method of one step is a level that is drawn across all steps."""
    known = curve.dropna()
    points = list(zip(known.index.astype(int).tolist(), known.tolist(), strict=True))
    if len(points) == 1:
        return [(step, points[0][1]) for step in range(last + 1)]
    return points


def _writer(trainer: Trainer) -> SummaryWriter | None:
    if not trainer.is_global_zero:
        return None
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            experiment: SummaryWriter = logger.experiment
            return experiment
    return None
