"""What TensorBoard shows of `test`: a curve per method over the steps, and charts of bounds, songs and weights."""

from pathlib import Path

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter

from mdx_progressive.engine.callbacks.run_context import tensorboard_writer
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.evaluation import curves_figure, select_curve, songs_figure, weights_figure


class TensorBoardCurves(Callback):
    """Logs the curves with the step number on the x axis, each method as a run of its own below the run's
    folder: one-pass, oracle and all methods then lie in one chart, in the scalars as in the custom scalars.
    """

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        writer = tensorboard_writer(trainer)
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
                        for step, value in _over(select_curve(means, metric, method.name, source)["mean"], last):
                            curve_writer.add_scalar(f"{metric}/{source}", value, step)
        layout = {
            comparison.scales[metric].axis: {
                source: ["Multiline", [f"{metric}/{source}$"]] for source in pl_module.targets
            }
            for metric in metrics
        }
        writer.add_custom_scalars(layout)
        for metric in metrics:
            writer.add_figure(f"curves/{metric}", curves_figure(comparison, metric))
            writer.add_figure(f"songs/{metric}", songs_figure(comparison, metric))
        writer.add_figure("schedules", weights_figure(comparison))
        writer.flush()


def _over(curve: "pd.Series[float]", last: int) -> list[tuple[int, float]]:
    """The points of a curve; a method of one step is a level that is drawn across all steps."""
    known = curve.dropna()
    points = list(zip(known.index.astype(int).tolist(), known.tolist(), strict=True))
    if len(points) == 1:
        return [(step, points[0][1]) for step in range(last + 1)]
    return points
