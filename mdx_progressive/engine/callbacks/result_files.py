"""What stays of `test`: its tables and means as files, curves.png, and a table on the terminal."""

import logging
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive.engine.callbacks.run_context import datamodule_of, run_folder
from mdx_progressive.engine.module import ProgressiveDemixing, TestOutput
from mdx_progressive.evaluation import (
    LINE_COLUMNS,
    Measurements,
    SummaryLine,
    Timing,
    curves_figure,
    discard_measurements,
    read_songs,
    summary_lines,
    write_rows,
    write_summary,
    write_timings,
)
from mdx_progressive.runtime import MdxError, atomic_write, device_name

log = logging.getLogger(__name__)

HEADLINE = "si_sdr"
"""The metric of the chart and the terminal table; the files hold them all."""


class ResultFiles(Callback):
    """Keeps what is measured chunk by chunk; at the end writes the sorted table, its means and the chart.

    Args:
        resume: Whether a run in this folder that broke off is gone on with: only chunks that it lacks, or whose files
            have changed since, are measured; all of them where the separator's have.
    """

    def __init__(self, resume: bool = True) -> None:
        self.resume = resume
        self._journal: Measurements | None = None
        self._stamps: dict[str, str] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the journal, and leave out the chunks that it holds before any of them is read."""
        if stage != "test":
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        folder = run_folder(trainer)
        served = datamodule_of(trainer)
        datamodule = served if self.resume else None
        if trainer.is_global_zero and datamodule is None:
            discard_measurements(folder)
        trainer.strategy.barrier()
        journal = self._journal = Measurements(folder, trainer.global_rank)
        journal.total = len(served.chunk_lengths()) if served else None
        self._stamps = {}
        separator = sha256(repr(pl_module.separator.checksums).encode()).hexdigest()[:16]
        for song in datamodule.songs if datamodule else []:
            # The chunks of a prepared song are songs of one name.
            self._stamps[song.name] = self._stamps.get(song.name, separator) + song.fingerprint
        done, outdated = set(journal.chunks(self._stamp)), journal.outdated(self._stamp)
        # Whoever begins first must not be seen by the others, or they would deal out the rest otherwise.
        trainer.strategy.barrier()
        if (done or outdated) and datamodule:
            remaining = datamodule.skip_done(done)
            if trainer.is_global_zero:
                log.info("%s: goes on where it broke off, %d chunks are to be measured", folder, remaining)
        if outdated and trainer.is_global_zero:
            log.warning("%d of them once more: the songs or the weights have changed since", len(outdated))

    def _stamp(self, song: str) -> str:
        return self._stamps.get(song, "")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        assert self._journal is not None
        output: TestOutput = outputs
        for origin in output["batch"].origins:
            rows = [row for row in output["rows"] if (row.song, row.chunk) == (origin.song, origin.chunk)]
            timings = [
                Timing(
                    origin.song, origin.chunk, method, seconds / len(output["batch"].origins),
                    origin.length / origin.sample_rate, device_name(pl_module.device),
                )
                for method, seconds in output["seconds"].items()
            ]  # fmt: skip
            self._journal.append(origin.song, origin.chunk, self._stamp(origin.song), rows, timings)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the rows of all processes together in one table, and let the module compare its methods."""
        assert isinstance(pl_module, ProgressiveDemixing)
        journal = self._journal
        assert journal is not None
        measured = torch.tensor(journal.appended, device=pl_module.device)
        appended = int(trainer.strategy.reduce(measured, reduce_op="sum"))
        trainer.strategy.barrier()
        if not trainer.is_global_zero:
            return
        chunks = journal.chunks(self._stamp)
        if len(chunks) < appended:
            raise MdxError(
                f"{journal.folder}: not all processes have written to it, or not of the same songs and weights: put the"
                " logs and the songs on a disk that all machines share"
            )
        write_timings(journal.folder / "timings.csv", journal.timings(chunks))
        results = journal.folder / "results.csv"
        write_rows(results, journal.rows(chunks))
        pl_module.conclude(read_songs(results))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        assert self._journal is not None
        comparison = pl_module.comparison
        if comparison is None:  # Another process has it.
            self._journal.close()
            return
        folder, means = self._journal.folder, comparison.means
        datamodule = datamodule_of(trainer)
        failures = datamodule.failures if datamodule else []
        facts: dict[str, object] = {
            "separator": type(pl_module.separator).__name__,
            "weights": pl_module.separator.checksums,
            "licence_of_weights": pl_module.separator.licence,
            "trained_on_musdb18_test": pl_module.separator.musdb_test,
            "targets": pl_module.targets,
            "methods": [method.name for method in pl_module.methods],
            "bounds": [method.name for method in pl_module.methods if method.needs_references],
            "passes_per_chunk": pl_module.passes,
            "failed": {failure.song: failure.reason for failure in failures},
            "versions": {package: version(package) for package in ("mdx_progressive", "torch", "lightning")},
            "metrics": {name: scale._asdict() for name, scale in comparison.scales.items()},
        }
        write_summary(folder / "summary.json", means, facts)
        with atomic_write(folder / "curves.png") as temporary:
            curves_figure(comparison, HEADLINE).savefig(temporary, dpi=110, format="png")
        found = [(method, summary_lines(comparison, HEADLINE, method)) for method in comparison.listed]
        _print_table(found, f"SI-SDR in dB: {comparison.caption}", folder)
        silent = int(means[(means["metric"] == HEADLINE) & (means["method"] == comparison.baseline)]["silent"].sum())
        if pl_module.separator.musdb_test:
            log.warning("these weights were trained on MUSDB18's test set: results on its songs prove nothing")
        if silent:
            log.warning("silent sources of chunks: %d, left out of the means (NaN in results.csv)", silent)
        for metric, of_metric in means.groupby("metric", sort=False):
            for reason in ("undefined", "infinite"):
                if count := int(of_metric[reason].sum()):
                    log.warning("%d values of %s are %s, and were left out of the means", count, metric, reason)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the journal, now that all callbacks have written what they make of the results."""
        if self._journal is not None and isinstance(pl_module, ProgressiveDemixing) and pl_module.comparison:
            self._journal.remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._journal is not None:
            self._journal.close()
            if self._journal.appended and self.resume:
                log.warning("%s: broken off; the same command goes on where it stopped", self._journal.folder)


def _print_table(found: Sequence[tuple[str, Sequence[SummaryLine]]], heading: str, folder: Path) -> None:
    grid = Table(
        title=heading,
        caption=f"The best step is known in hindsight only. Files: {folder}",
        box=box.SIMPLE_HEAD,
        padding=(0, 0),  # all columns within the 80 characters of a terminal
    )
    for column in ("source", "method"):
        grid.add_column(column, no_wrap=True)
    for column in LINE_COLUMNS:
        grid.add_column(column, justify="right", no_wrap=True)
    for method, sources in found:
        for line in sources:
            grid.add_row(line.source, method, *line.cells)
        grid.add_section()
    Console(markup=False).print(grid)  # Brackets in a name are its own.
