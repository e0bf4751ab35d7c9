"""The callback that logs the results of `test` to TensorBoard: curves, charts, tables, each method's settings."""

from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mdx_progressive.engine.callbacks.run_context import tensorboard_writer
from mdx_progressive.engine.callbacks.tensorboard_figures import add_wide_figure
from mdx_progressive.engine.callbacks.tensorboard_text import (
    facts_table,
    method_settings,
    name_of_separator,
    results_text,
    saved_settings,
)
from mdx_progressive.engine.module import ProgressiveDemixing
from mdx_progressive.evaluation import (
    Comparison,
    curves_figure,
    last_steps,
    select_curve,
    songs_figure,
    summarise,
    weights_figure,
)
from mdx_progressive.progressive import Method

_HEADLINE = "si_sdr"
"""The metric whose gains come first; every run has it."""


class TensorBoardResults(Callback):
    """Logs curves with the step number on the x axis, each method as a run of its own below the run's folder.

    All methods then lie in one chart, in the scalars as in the custom scalars, with one-pass and the oracle's last step
    as level lines, whose runs come first by name and by time: they keep their places and colours whatever the methods.
    What a method has gained at its last step is a curve of one point, which can't be smoothed. The settings of a method
    stand in the HPARAMS tab beside that and the means of its last step, so that runs and methods can be sorted.
    """

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        writer = tensorboard_writer(trainer)
        if writer is None or pl_module.comparison is None:
            return
        settings = saved_settings(trainer)
        comparison = pl_module.comparison._replace(separator=name_of_separator(pl_module, settings))
        writer.add_text("facts", facts_table(trainer, pl_module, comparison))
        if settings:
            # An indented block is code in Markdown.
            writer.add_text("settings", "".join(f"    {line}\n" for line in settings.splitlines()))
        layout = {}
        for metric, scale in comparison.scales.items():
            writer.add_text(f"results/{metric}", results_text(comparison, metric))
            add_wide_figure(writer, f"curves/{metric}", partial(curves_figure, comparison, metric))
            add_wide_figure(writer, f"songs/{metric}", partial(songs_figure, comparison, metric))
            layout[scale.axis] = {source: ["Multiline", [f"{metric}/{source}$"]] for source in pl_module.targets}
        writer.add_custom_scalars(layout)
        add_wide_figure(writer, "schedules", partial(weights_figure, comparison))
        for method in pl_module.methods:
            with SummaryWriter(str(Path(writer.log_dir) / _run_name(comparison, method.name))) as method_writer:
                for tag, step, value in _scalars(comparison, method, pl_module):
                    method_writer.add_scalar(tag, value, step)
                # Without the first of the three, which would fix the columns of all runs, TensorBoard collects them.
                _, start, end = hparams(method_settings(trainer, pl_module, method, comparison, settings), {})
                method_writer.file_writer.add_summary(start)
                method_writer.file_writer.add_summary(end)
        writer.flush()


def _run_name(comparison: Comparison, method: str) -> str:
    """The name of a method's run; TensorBoard sorts them by name, and a digit comes first."""
    place = {comparison.baseline: "0-", comparison.oracle: "1-"}
    return f"{place.get(method, '')}{method}"


def _scalars(comparison: Comparison, method: Method, module: ProgressiveDemixing) -> Iterator[tuple[str, int, float]]:
    """The scalars of a method, as tags, steps and values."""
    if method.name == comparison.baseline or method.name in comparison.methods:
        for tag, gain in _last_gains(comparison, method.name):
            yield tag, method.steps, gain
    steps = range(max(each.steps for each in module.methods) + 1)
    level = method.name in (comparison.baseline, comparison.oracle)
    for metric, source in product(comparison.scales, module.targets):
        curve = select_curve(comparison.means, metric, method.name, source)["mean"].dropna()
        if level and len(curve):
            curve = pd.Series(curve.iloc[-1], index=steps)
        for step, value in curve.items():
            yield f"{metric}/{source}", int(step), float(value)  # type: ignore[call-overload]


def _last_gains(comparison: Comparison, method: str) -> Iterator[tuple[str, float]]:
    """What a method gains at its last step over all sources and for each; capitals come first among the columns."""
    tag = f"{comparison.scales[_HEADLINE].label} gain"
    of_metric = comparison.gains[comparison.gains["metric"] == _HEADLINE]
    if method == comparison.baseline:
        yield from ((each, 0.0) for each in (tag, *(f"{tag}/{source}" for source in of_metric["source"].unique())))
    for gain in summarise(last_steps(of_metric[of_metric["method"] == method])):
        yield tag, gain.mean
        yield from ((f"{tag}/{source}", mean) for source, mean in gain.by_source.items())
