"""The callback that logs the results of `test` to TensorBoard: curves, charts, tables, each method's settings."""

from itertools import product
from pathlib import Path

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mdx_progressive.engine.callbacks.run_context import tensorboard_writer
from mdx_progressive.engine.callbacks.tensorboard_text import (
    facts_table,
    method_settings,
    results_table,
    saved_settings,
)
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.evaluation import curves_figure, select_curve, songs_figure, weights_figure


class TensorBoardResults(Callback):
    """Logs curves with the step number on the x axis, each method as a run of its own below the run's folder.

    One-pass, oracle and all methods then lie in one chart, in the scalars as in the custom scalars. The settings of a
    method stand in the HPARAMS tab beside the means of its last step, so that runs and methods can be sorted.
    """

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        writer = tensorboard_writer(trainer)
        comparison = pl_module.comparison
        if writer is None or comparison is None:
            return
        settings = saved_settings(trainer)
        writer.add_text("facts", facts_table(trainer, pl_module, comparison))
        if settings:
            # An indented block is code in Markdown.
            writer.add_text("settings", "".join(f"    {line}\n" for line in settings.splitlines()))
        layout = {}
        for metric, scale in comparison.scales.items():
            writer.add_text(f"results/{metric}", results_table(comparison, metric))
            writer.add_figure(f"curves/{metric}", curves_figure(comparison, metric))
            writer.add_figure(f"songs/{metric}", songs_figure(comparison, metric))
            layout[scale.axis] = {source: ["Multiline", [f"{metric}/{source}$"]] for source in pl_module.targets}
        writer.add_custom_scalars(layout)
        writer.add_figure("schedules", weights_figure(comparison))
        last = max(method.steps for method in pl_module.methods)
        for method in pl_module.methods:
            with SummaryWriter(str(Path(writer.log_dir) / method.name)) as method_writer:
                for metric, source in product(comparison.scales, pl_module.targets):
                    curve = select_curve(comparison.means, metric, method.name, source)["mean"]
                    for step, value in _points(curve, last):
                        method_writer.add_scalar(f"{metric}/{source}", value, step)
                # Without the first of the three, which would fix the columns of all runs, TensorBoard collects them.
                _, start, end = hparams(method_settings(trainer, pl_module, method, comparison, settings), {})
                method_writer.file_writer.add_summary(start)
                method_writer.file_writer.add_summary(end)
        writer.flush()


def _points(curve: "pd.Series[float]", last: int) -> list[tuple[int, float]]:
    """The points of a curve; a method of one step is a level line across all steps."""
    values = curve.dropna()
    points = list(zip(values.index.astype(int).tolist(), values.tolist(), strict=True))
    return points if len(points) != 1 else [(step, points[0][1]) for step in range(last + 1)]
