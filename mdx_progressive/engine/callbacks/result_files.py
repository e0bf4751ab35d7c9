"""The callback that writes the results of `test`: tables and means as files, curves.png, a table on the terminal."""

import logging
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from shlex import quote
from typing import Any

import torch
from filelock import FileLock
from lightning.pytorch import Callback, LightningModule, Trainer
from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive.data import Failure, SongDataModule
from mdx_progressive.engine.callbacks.run_context import run_folder, song_datamodule
from mdx_progressive.engine.module import ProgressiveDemixing, TestOutput
from mdx_progressive.evaluation import (
    LINE_COLUMNS,
    SOUND_FOLDER,
    Comparison,
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
from mdx_progressive.runtime import MdxError, atomic_write, counted, device_name, escape_unprintable, remove_parts

log = logging.getLogger(__name__)

_NEXT = """\
What each method gains, song by song:  mdx-progressive compare {folder}
The same with charts and players:      mdx-progressive report {folder}"""

_FILES = _TIMINGS, _RESULTS, _SUMMARY, _CURVES = "timings.csv", "results.csv", "summary.json", "curves.png"

HEADLINE = "si_sdr"
"""The metric of the chart and the terminal table; the files hold them all."""


class ResultFiles(Callback):
    """Keeps what is measured chunk by chunk; at the end writes the sorted table, its means and the chart.

    Args:
        resume: Whether an interrupted run in this folder is resumed: only chunks that it lacks, or whose files have
            changed since, are measured; all of them where the separator's have.
    """

    def __init__(self, resume: bool = True) -> None:
        self.resume = resume
        self.lock: FileLock | None = None
        """The lock of the run's folder, if it is locked already."""
        self._measurements: Measurements | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Open the journal, and leave out the chunks that it holds before any of them is read."""
        if stage != "test":
            return
        assert isinstance(pl_module, ProgressiveDemixing)
        folder = run_folder(trainer)
        datamodule = song_datamodule(trainer)
        resumed = datamodule if self.resume else None
        if trainer.is_global_zero and resumed is None:
            discard_measurements(folder)
        trainer.strategy.barrier()
        total = len(datamodule.chunk_lengths()) if datamodule else None
        fingerprints = _fingerprints(resumed, pl_module) if resumed else {}
        measurements = self._measurements = Measurements(folder, trainer.global_rank, fingerprints, total, self.lock)
        if trainer.is_global_zero:
            remove_parts([*(folder / name for name in _FILES), folder / SOUND_FOLDER])
        done, outdated = measurements.chunks()
        # No process may begin before all have read the same entries, or they would deal out the rest differently.
        trainer.strategy.barrier()
        if (done or outdated) and resumed:
            remaining = resumed.skip_done(set(done))
            if trainer.is_global_zero:
                log.info("%s: resumes an interrupted run, to be measured: %s", folder, counted(remaining, "chunk"))
        if outdated and trainer.is_global_zero:
            log.warning("%d of them once more: the songs or the weights have changed since", len(outdated))

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the rows out of memory: the journal has them."""
        assert isinstance(pl_module, ProgressiveDemixing)
        pl_module.rows = None

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int
    ) -> None:
        assert self._measurements is not None
        output: TestOutput = outputs
        origins = output["batch"].origins
        for origin in origins:
            chunk = origin.song, origin.chunk
            rows = [row for row in output["rows"] if (row.song, row.chunk) == chunk]
            length, device = origin.length / origin.sample_rate, device_name(pl_module.device)
            timings = [
                Timing(*chunk, method, seconds / len(origins), length, device)
                for method, seconds in output["seconds"].items()
            ]
            self._measurements.append(*chunk, rows, timings)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the rows of all processes as one table, and let the module compare its methods."""
        assert isinstance(pl_module, ProgressiveDemixing)
        measurements = self._measurements
        assert measurements is not None
        own = torch.tensor(measurements.appended, device=pl_module.device)
        appended = int(trainer.strategy.reduce(own, reduce_op="sum"))
        trainer.strategy.barrier()
        if not trainer.is_global_zero:
            return
        chunks, _ = measurements.chunks()
        if len(chunks) < appended:
            raise MdxError(
                f"{measurements.folder}: not all processes have written to it, or not of the same songs and weights:"
                " put the logs and the songs on a disk that all machines share"
            )
        write_timings(measurements.folder / _TIMINGS, measurements.timings(chunks))
        results = measurements.folder / _RESULTS
        write_rows(results, measurements.rows(chunks))
        pl_module.conclude(read_songs(results))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, ProgressiveDemixing)
        assert self._measurements is not None
        comparison = pl_module.comparison
        if comparison is None:  # Another process has it.
            self._measurements.close()
            return
        folder = self._measurements.folder
        datamodule = song_datamodule(trainer)
        facts = _facts(pl_module, comparison, datamodule.failures if datamodule else [])
        write_summary(folder / _SUMMARY, comparison.means, facts)
        with atomic_write(folder / _CURVES) as temporary:
            curves_figure(comparison, HEADLINE).savefig(temporary, dpi=110, format="png")
        lines = [(method, summary_lines(comparison, HEADLINE, method)) for method in comparison.listed]
        _print_table(lines, f"SI-SDR in dB: {comparison.caption}", comparison.oracle is not None)
        Console(markup=False, soft_wrap=True).print(
            _NEXT.format(folder=quote(escape_unprintable(str(folder)))), highlight=False
        )
        if pl_module.separator.musdb_test:
            log.warning("these weights were trained on MUSDB18's test set: results on its songs prove nothing")
        _warn_of_missing_values(comparison)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the journal, now that all callbacks have written the results."""
        if self._measurements is not None and isinstance(pl_module, ProgressiveDemixing) and pl_module.comparison:
            self._measurements.remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if self._measurements is not None:
            if self._measurements.appended and self.resume:
                done, total = len(self._measurements.chunks()[0]), self._measurements.total
                of = f" of {counted(total, 'chunk')}" if total else ""
                log.warning("%s: %s%s measured", self._measurements.folder, done, of)
            self._measurements.close()


def _fingerprints(datamodule: SongDataModule, module: ProgressiveDemixing) -> dict[str, str]:
    """By the name of a song, what changes with its files and the separator's."""
    separator = sha256(repr(module.separator.checksums).encode()).hexdigest()[:16]
    fingerprints: dict[str, str] = {}
    for song in datamodule.songs:
        # The chunks of a prepared song are songs of one name.
        fingerprints[song.name] = fingerprints.get(song.name, separator) + song.fingerprint
    return fingerprints


def _facts(module: ProgressiveDemixing, comparison: Comparison, failures: Sequence[Failure]) -> dict[str, object]:
    return {
        "separator": type(module.separator).__name__,
        "weights": module.separator.checksums,
        "licence_of_weights": module.separator.licence,
        "trained_on_musdb18_test": module.separator.musdb_test,
        "targets": module.targets,
        "methods": [method.name for method in module.methods],
        "bounds": [method.name for method in module.methods if method.needs_references],
        "passes_per_chunk": module.passes,
        "failed": {failure.song: failure.line for failure in failures},
        "versions": {package: version(package) for package in ("mdx_progressive", "torch", "lightning")},
        "metrics": {name: scale._asdict() for name, scale in comparison.scales.items()},
    }


def _print_table(lines: Sequence[tuple[str, Sequence[SummaryLine]]], heading: str, oracle: bool) -> None:
    notes = ["The best step is known in hindsight only."]
    if oracle:
        notes.append(f"oracle: the true sources blended in, with the weights of {lines[0][0]}.")
    grid = Table(
        title=escape_unprintable(heading),
        caption="\n".join(notes),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0),  # all columns within the 80 characters of a terminal
    )
    for column in ("source", "method"):
        grid.add_column(column, no_wrap=True)
    for column in LINE_COLUMNS:
        grid.add_column(column, justify="right", no_wrap=True)
    for method, sources in lines:
        for line in sources:
            grid.add_row(escape_unprintable(line.source), escape_unprintable(method), *line.cells)
        grid.add_section()
    Console(markup=False).print(grid)  # Brackets in a name are its own.


def _warn_of_missing_values(comparison: Comparison) -> None:
    means = comparison.means
    silent = int(means[(means["metric"] == HEADLINE) & (means["method"] == comparison.baseline)]["silent"].sum())
    if silent:
        log.warning("silent sources of chunks: %d, left out of the means (NaN in results.csv)", silent)
    for metric, values in means.groupby("metric", sort=False):
        for reason in ("undefined", "infinite"):
            if count := int(values[reason].sum()):
                log.warning("%s: %s, left out of the means", metric, counted(count, f"{reason} value"))
        if count := int(values["lost"].sum()):
            floor = comparison.scales[str(metric)].floor
            log.warning("%s: %s, which count as %g in the means", metric, counted(count, "lost source"), floor)
