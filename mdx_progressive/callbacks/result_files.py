"""What stays of `test`: results.csv, summary.json, curves.png in the run's folder, a table on the terminal."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive.module import ProgressiveDemixing, TestOutput
from mdx_progressive.plots import curves_figure
from mdx_progressive.results import Line, RowWriter, lines, write_rows, write_summary
from mdx_progressive.whole_file import whole_file

log = logging.getLogger(__name__)

HEADLINE = "si_sdr"
"""The metric of the chart and the terminal table; the files hold them all."""


class ResultFiles(Callback):
    """Writes rows as they come; at the end the sorted table, its means, the chart, and a table on the terminal."""

    def __init__(self) -> None:
        self._writer: RowWriter | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Each process keeps its own share until the end; the first one's has the final name.
        share = "" if trainer.is_global_zero else f".{trainer.global_rank}"
        self._writer = RowWriter(_folder(trainer) / f"results{share}.csv")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._writer is not None:
            output: TestOutput = outputs
            self._writer.write(output["rows"])

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        self._close()
        folder = _folder(trainer)
        if not trainer.is_global_zero:
            (folder / f"results.{trainer.global_rank}.csv").unlink()
            return
        comparison = pl_module.comparison
        assert comparison is not None
        means = comparison.means
        write_rows(folder / "results.csv", pl_module.rows)
        facts: dict[str, object] = {
            "separator": type(pl_module.separator).__name__,
            "licence_of_weights": pl_module.separator.licence,
            "trained_on_musdb18_test": pl_module.separator.musdb_test,
            "targets": pl_module.targets,
            "methods": [method.name for method in pl_module.methods],
            "bounds": [method.name for method in pl_module.methods if method.needs_references],
            "passes_per_chunk": pl_module.passes,
            "metrics": {name: scale._asdict() for name, scale in comparison.scales.items()},
        }
        write_summary(folder / "summary.json", means, facts)
        with whole_file(folder / "curves.png") as temporary:
            curves_figure(comparison, HEADLINE).savefig(temporary, dpi=110, format="png")
        found = [(method, lines(comparison, HEADLINE, method)) for method in comparison.between]
        _print_table(found, f"SI-SDR in dB: {comparison.caption}", folder)
        silent = int(means[(means["metric"] == HEADLINE) & (means["method"] == comparison.floor)]["silent"].sum())
        if pl_module.separator.musdb_test:
            log.warning("these weights were trained on MUSDB18's test set: results on its songs prove nothing")
        if silent:
            log.warning("%d silent sources of chunks were left out of the means (NaN in results.csv)", silent)
        for metric, of_metric in means.groupby("metric", sort=False):
            for reason in ("undefined", "infinite"):
                if count := int(of_metric[reason].sum()):
                    log.warning("%d values of %s are %s, and were left out of the means", count, metric, reason)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.log_dir or trainer.default_root_dir)


def _print_table(found: Sequence[tuple[str, Sequence[Line]]], heading: str, folder: Path) -> None:
    grid = Table(
        title=heading,
        caption=f"The best step is known in hindsight only. Files: {folder}",
        box=box.SIMPLE_HEAD,
        padding=(0, 0),  # all columns within the 80 characters of a terminal
    )
    for column in ("source", "method"):
        grid.add_column(column, no_wrap=True)
    for column in ("passes", "one-pass", "best step", "last step", "oracle"):
        grid.add_column(column, justify="right", no_wrap=True)
    for method, sources in found:
        for line in sources:
            best, last = f"{line.best:.2f} ({line.best_step})", f"{line.last:.2f} ({line.last_step})"
            oracle = "" if math.isnan(line.oracle) else f"{line.oracle:.2f}"
            grid.add_row(line.source, method, str(line.passes), f"{line.one_pass:.2f}", best, last, oracle)
        grid.add_section()
    Console().print(grid)
