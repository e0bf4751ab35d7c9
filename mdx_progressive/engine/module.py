"""The LightningModule: the frozen separator, the methods and the metrics, run by Lightning's Trainer."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypedDict

import torch
from lightning.pytorch import LightningModule
from pandas import DataFrame
from torch import Tensor

from mdx_progressive.data import ChunkBatch, Prediction, join_songs
from mdx_progressive.engine.lineup import lineup
from mdx_progressive.engine.method_runner import MethodRunner, PassListener
from mdx_progressive.evaluation import (
    ONE_PASS,
    BssEval,
    Comparison,
    EvaluationContext,
    Metric,
    Row,
    Sdr,
    SiSdr,
    compare_methods,
    final_means,
    split_songs,
)
from mdx_progressive.progressive import Method, Step, plain_ensemble, tracked_sources
from mdx_progressive.runtime import MdxError, Stopwatch, all_gather
from mdx_progressive.separators import Separator

StepListener = Callable[[int], None]
"""Called with the number of a step of `predict` when it is done."""

LastStepListener = Callable[[ChunkBatch, Method, Tensor], None]
"""Called with the estimates (batch, target, channel, time) of a method's last step in `test`, at the batch's level."""

Waveforms = Tensor | Sequence[Tensor]
"""Mixtures (batch, channel, time) of a plain `DataLoader`; that of a `TensorDataset` has them in a list."""


class Sound(NamedTuple):
    """The audio of a batch in `test`, at the mixture's original level.

    Args:
        mixture: The mixture.
        one_pass: Estimates of the plain pass.
        best: For each target the estimate of the method's step with the highest SI-SDR.
        best_step: The number of that step, (batch, target).
        references: The true targets.

    Shape:
        - mixture: (batch, channel, time)
        - the others: (batch, target, channel, time)
    """

    mixture: Tensor
    one_pass: Tensor
    best: Tensor
    best_step: Tensor
    references: Tensor


class TestOutput(TypedDict):
    """The result of `test_step` for the callbacks; `seconds` are those of `Timing`, of the whole batch."""

    batch: ChunkBatch
    rows: list[Row]
    seconds: dict[str, float]
    sound: Sound | None


class ProgressiveDemixing(LightningModule):
    """Runs methods of progressive inference on a frozen separator.

    `predict` takes the songs of a `SongDataModule`, and returns each block of a long one (`join_songs` joins them); or
    any `DataLoader` of mixtures at the separator's sample rate, each of which is separated at once. `test` needs songs
    with stems; it logs the mean of each metric, method and source at the method's last step as
    `test/<metric>/<method>/<source>`, and that over the sources as `test/<metric>/<method>/mean`.

    Args:
        separator: The pretrained separator.
        method: The method that `predict` runs, and `test` measures first.
        compare: Further methods for `test`, on the same chunks and from the same plain pass (see `lineup`).
        targets: Sources to estimate; all of the separator's by default.
        ensemble: Whether `test` also runs what `method` has to beat: the mean over augmentations of the mixture, with
            as many passes.
        schedules: Whether `test` also runs `method` with every other schedule, with the same maximum and steps.
        oracle: Whether `test` runs the upper bound: with the schedule of `method`, or where that has none a linear one,
            in as many steps. A method without steps has no such bound.
        metrics: The metrics of `test`; by default SiSdr, Sdr and BssEval without its components; there are also
            LogSpectralDistance and LogWmse. SiSdr is always included: the tables and charts show it.
        compile: Whether the networks are compiled with `torch.compile`: minutes at the first pass, then cached on
            disk. Worth it on a GPU and in long runs; needs a C++ compiler.

    Raises:
        MdxError: If a target is no source of the separator, two methods have one name, `method` needs the references
            or has no schedule that could be replaced, or there is no compiler for `compile`.

    Example:
        >>> import torch
        >>> from mdx_progressive import Linear, Progressive, SpleeterSeparator
        >>> model = ProgressiveDemixing(SpleeterSeparator(bins=64), Progressive(Linear(0.5), steps=2))
        >>> prediction = model.predict_step(torch.zeros(1, 2, 44100), 0)
        >>> prediction.targets, tuple(prediction.estimates.shape)
        (['vocals', 'accompaniment'], (1, 2, 2, 44100))
    """

    def __init__(
        self,
        separator: Separator,
        method: Method,
        compare: list[Method] | None = None,
        targets: list[str] | None = None,
        ensemble: bool = False,
        schedules: bool = False,
        oracle: bool = True,
        metrics: list[Metric] | None = None,
        compile: bool = False,  # noqa: A002 - the name of the key
    ) -> None:
        super().__init__()
        if method.needs_references:
            raise MdxError(f"model.method can't be {type(method).__name__}, which needs the references; `test` runs it")
        if compile:
            _check_compiler()
            separator.compile(dynamic=False)
        self.separator = separator
        self.method = method
        self.indices = separator.target_indices(targets)
        self.targets = [separator.sources[index] for index in self.indices]
        ensemble_of = plain_ensemble(self.passes_of(method)) if ensemble else None
        compared = lineup(method, compare or [], ensemble_of, schedules, oracle)
        self.methods, self.oracle = compared.methods, compared.oracle
        self.metrics = metrics or [SiSdr(), Sdr(), BssEval()]
        if not any(isinstance(metric, SiSdr) for metric in self.metrics):
            self.metrics = [SiSdr(), *self.metrics]
        self.comparison: Comparison | None = None
        """What `test` has found, in the first process."""
        self.rows: list[Row] | None = None
        """The rows that this process has measured so far; None where a callback keeps them and calls `conclude`."""
        self._runner = MethodRunner(separator, self.targets)
        self.step_listeners: list[StepListener] = []
        self.last_step_listeners: list[LastStepListener] = []

    @property
    def pass_listeners(self) -> list[PassListener]:
        """Called after each call of the separator."""
        return self._runner.listeners

    def passes_of(self, method: Method) -> int:
        """Network passes over a chunk that a method takes for all targets, at most."""
        sources = tracked_sources([method], self.separator.sources, self.targets)
        targets = [sources.index(target) for target in self.targets]
        return method.passes(len(sources)) - method.saved_passes(len(sources), targets)

    @property
    def passes(self) -> int:
        """Network passes over a chunk in `test`; the first one is shared by all methods."""
        return 1 + sum(self.passes_of(method) - 1 for method in self.methods)

    def predict_step(self, batch: ChunkBatch | Waveforms, batch_idx: int) -> Prediction:
        """Run the method and return the estimates of its last step, at the mixture's original level.

        Raises:
            MdxError: If the batch is neither of a `SongDataModule` nor a tensor (batch, channel, time) of floating
                point with one channel or those of the separator.
        """
        if not isinstance(batch, ChunkBatch):
            batch = ChunkBatch.of_waveforms(_only_tensor(batch), self.separator.sample_rate, f"batch {batch_idx}")
        if not batch.origins:
            return Prediction([], self.targets, self.separator.sample_rate, batch.mixture.unsqueeze(1), 0.0)
        stopwatch = Stopwatch(self.device)
        with stopwatch.measure():
            first = self._runner.plain_pass(batch, [self.method])
            for step, _ in self._runner.run(self.method, batch, first):
                estimates = step.estimates
                for listener in self.step_listeners:
                    listener(step.number)
            estimates = estimates / _per_source(batch.gain)
        return Prediction(batch.origins, self.targets, self.separator.sample_rate, estimates, stopwatch.seconds)

    def join_songs(self, predictions: Iterable[Prediction]) -> dict[str, Tensor]:
        """The estimates of whole songs, of which `predict` returns each block that is separated at once.

        Args:
            predictions: What `Trainer.predict` has returned for a `SongDataModule`, in one process.

        Shape:
            - result: (target, channel, time) for each song, by its name, at the separator's sample rate

        Raises:
            MdxError: If a block is missing, or is there twice.
        """
        return join_songs(predictions, self.separator.crossfade)

    def on_test_start(self) -> None:
        self.comparison, self.rows = None, []

    def test_step(self, batch: ChunkBatch, batch_idx: int) -> TestOutput:
        """Run every method on the same chunks, from one plain pass, and measure every step."""
        if isinstance(batch, ChunkBatch) and not batch.origins:
            return TestOutput(batch=batch, rows=[], seconds={}, sound=None)
        if not isinstance(batch, ChunkBatch) or batch.references is None or batch.silent is None:
            raise MdxError("test needs the true sources: give songs with stems, --data.root FOLDER")
        watches = {method.name: Stopwatch(self.device) for method in self.methods}
        with watches[ONE_PASS].measure():
            blocks = self._runner.blocks(batch, self.methods)
        one_pass = self._runner.join_plain_pass(blocks)
        best = _Best(one_pass)
        context = EvaluationContext(
            batch.mixture, batch.references, batch.silent, self.indices, self.separator.sample_rate
        )
        measures = [metric.prepare(context) for metric in self.metrics]
        rows: list[Row] = []
        for method in self.methods:
            for step, passes in watches[method.name].measure_items(self._runner.run_blocks(method, blocks)):
                values = {name: value for measure in measures for name, value in measure(step.estimates).items()}
                rows += self._rows(batch, method, step, passes, values)
                if method is self.method:
                    best.consider(step, values["si_sdr"])
            for listener in self.last_step_listeners:
                listener(batch, method, step.estimates)
        level = _per_source(batch.gain)
        sound = Sound(
            mixture=batch.mixture / level[:, 0],
            one_pass=one_pass / level,
            best=best.estimates / level,
            best_step=best.step,
            references=batch.references[:, self.indices] / level,
        )
        seconds = {name: watch.seconds for name, watch in watches.items()}
        if self.rows is not None:
            self.rows += rows
        return TestOutput(batch=batch, rows=rows, seconds=seconds, sound=sound)

    def on_test_epoch_end(self) -> None:
        """Log the means of the last steps: those that a callback has concluded, else of the rows of all processes."""
        if self.rows is not None:
            rows = [row for process in all_gather(self.rows, self.trainer.world_size) for row in process]
            self.rows = None
            if rows and self.trainer.is_global_zero:
                self.conclude(split_songs(rows))
        means = final_means(self.comparison.means) if self.comparison else {}
        for name, mean in self.trainer.strategy.broadcast(means).items():
            # All processes have the same values; their maximum is that to the last bit, a mean might not be.
            self.log(f"test/{name}", mean, reduce_fx="max", sync_dist=True)

    def conclude(self, songs: Iterable[DataFrame]) -> None:
        """Compare the methods, for the callbacks.

        Args:
            songs: All rows of each song (see `results.Row`), one song at a time.
        """
        baseline, *others = self.methods
        self.comparison = compare_methods(
            songs,
            scales={name: scale for metric in self.metrics for name, scale in metric.scales.items()},
            separator=self.separator.name or type(self.separator).__name__,
            baseline=baseline.name,
            oracle=self.oracle.name if self.oracle else None,
            methods=[method.name for method in others if not method.needs_references],
        )

    def _rows(
        self, batch: ChunkBatch, method: Method, step: Step, passes: int, values: dict[str, Tensor]
    ) -> Iterator[Row]:
        for metric, of_batch in values.items():
            for origin, of_chunk in zip(batch.origins, of_batch.tolist(), strict=True):
                for source, weight, value in zip(self.targets, step.weights.tolist(), of_chunk, strict=True):
                    yield Row(
                        origin.song, origin.chunk, method.name, step.number, passes, weight, source, metric, value
                    )


def _only_tensor(batch: Waveforms) -> Tensor:
    """The waveforms in a batch of a plain loader, which may be anything."""
    waveforms = batch[0] if isinstance(batch, list | tuple) and len(batch) == 1 else batch
    if isinstance(waveforms, Tensor):
        return waveforms
    found = f"a {type(batch).__name__}"
    if isinstance(batch, list | tuple):
        found += f" of {len(batch)}: {', '.join(sorted({type(each).__name__ for each in batch}))}"
    raise MdxError(f"a batch must be one tensor (batch, channel, time) of mixtures, not {found}")


def _check_compiler() -> None:
    """`torch.compile` would fail at the first pass only, with an error of many lines."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX") or "c++", "g++", "clang++", "cl")):
        raise MdxError(
            "model.compile needs a C++ compiler, and there is none: install one (apt-get install g++) or name it in CXX"
        )


class _Best:
    """Keeps, for each target of each chunk, the estimate with the highest value so far."""

    def __init__(self, first: Tensor) -> None:
        self.estimates = first
        self.value = first.new_full(first.shape[:2], -torch.inf)
        self.step = torch.zeros_like(self.value, dtype=torch.long)

    def consider(self, step: Step, value: Tensor) -> None:
        better = value > self.value
        self.value = torch.where(better, value, self.value)
        self.step = torch.where(better, step.number, self.step)
        self.estimates = torch.where(better[..., None, None], step.estimates, self.estimates)


def _per_source(gain: Tensor) -> Tensor:
    return gain[:, None, None, None]
