"""The LightningModule: the frozen separator, the methods, the metrics, wired together."""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypedDict

import torch
from lightning.pytorch import LightningModule
from pandas import DataFrame, concat
from torch import Tensor

from mdx_progressive.data import ChunkBatch, Prediction
from mdx_progressive.dsp import Block, join_blocks
from mdx_progressive.evaluation import (
    ONE_PASS,
    BssEval,
    Comparison,
    EvaluationContext,
    Metric,
    Row,
    Sdr,
    SiSdr,
    last_steps,
    mean_curves,
    paired_gains,
    song_means,
    title,
)
from mdx_progressive.output import BlockStore
from mdx_progressive.progressive import (
    Linear,
    Method,
    OnePass,
    Oracle,
    Passes,
    Progressive,
    Step,
    plain_ensemble,
    select_sources,
    tracked_sources,
    with_every_schedule,
)
from mdx_progressive.runtime import MdxError, Stopwatch
from mdx_progressive.separators import Separator

_SPAN = 10.0
"""Seconds over which the views of an ensemble are shifted where a separator has no segments."""

Watcher = Callable[[str, int], None]
"""Told (name of the method, how many passes) after each call of the separator."""
StepWatcher = Callable[[int], None]
"""Told the number of a step of `predict` that is done."""


class Sound(NamedTuple):
    """What there is to hear of a batch in `test`, at the mixture's original level.

    Args:
        mixture: The mixture.
        one_pass: Estimates of the plain pass.
        best: For each target the estimate of the method's step with the highest SI-SDR.
        best_step: The number of that step, (batch, target).
        last: Estimates of the method's last step.
        oracle: Those of the oracle's last step; None where it was not run.
        references: The true targets.

    Shape:
        - mixture: (batch, channel, time)
        - the others: (batch, target, channel, time)
    """

    mixture: Tensor
    one_pass: Tensor
    best: Tensor
    best_step: Tensor
    last: Tensor
    oracle: Tensor | None
    references: Tensor


class TestOutput(TypedDict):
    """What `test_step` returns to the callbacks; `seconds` are those of `Timing`, of the whole batch."""

    batch: ChunkBatch
    rows: list[Row]
    seconds: dict[str, float]
    sound: Sound | None


class ProgressiveDemixing(LightningModule):
    """Runs methods of progressive inference on a frozen separator.

    Args:
        separator: The pretrained separator.
        method: What `predict` runs, and `test` measures first.
        compare: Further methods for `test`, on the same chunks and from the same plain pass. One that has the name of
            `method` is left out: a preset that was among them has become the method itself; so is one pass, which
            always runs.
        targets: Sources to estimate; all of the separator's by default.
        ensemble: Whether `test` also runs what `method` has to beat: the plain mean over views of the mixture, as many
            as it takes passes.
        schedules: Whether `test` also runs `method` over every other schedule, to the same maximum in as many steps;
            a schedule whose name is that of a method in `compare` is left to that.
        oracle: Whether `test` runs the upper bound: with the schedule of `method`, or where that has none a linear one,
            in as many steps. A method without steps has no such bound.
        metrics: What `test` measures; by default SiSdr, Sdr and BssEval without its components. There are
            LogSpectralDistance and LogWmse too. SiSdr is always among them: the tables and charts are of it.
        compile: Whether the networks are compiled with `torch.compile`: minutes at the first pass, then cached on
            disk. It pays on a GPU and in long runs; needs a C++ compiler.

    Raises:
        MdxError: If a target is no source of the separator, two methods have one name, `method` needs the true
            sources or has no schedule that could be another, or there is no compiler for `compile`.
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
            raise MdxError(
                f"model.method can't be {type(method).__name__}, which needs the true sources; `test` runs it"
            )
        if compile:
            _check_compiler()
            separator.compile(dynamic=False)
        self.separator = separator
        self.method = method
        self.indices = separator.index(targets)
        self.targets = [separator.sources[index] for index in self.indices]
        self.oracle: Oracle | None = None
        if oracle and method.steps:
            self.oracle = Oracle(method.schedule if isinstance(method, Progressive) else Linear(), method.steps)
        plain = method if isinstance(method, OnePass) else OnePass()
        bounds: list[Method] = [plain, self.oracle] if self.oracle else [plain]
        own = [] if method is plain else [method]
        others = [each for each in compare or [] if each.name != method.name and not isinstance(each, OnePass)]
        rivals: list[Method] = []
        if ensemble:
            rivals.append(plain_ensemble(method.passes, separator.segment or _SPAN))
        if schedules:
            known = {each.name for each in others}
            rivals += [each for each in with_every_schedule(method) if each.name not in known]
        self.methods = [*bounds, *own, *rivals, *others]
        names = [each.name for each in self.methods]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise MdxError(
                f"two methods have the name {', '.join(twice)}: give one of them another, with init_args.name"
            )
        self.metrics = metrics or [SiSdr(), Sdr(), BssEval()]
        if not any(isinstance(metric, SiSdr) for metric in self.metrics):
            self.metrics = [SiSdr(), *self.metrics]
        self.comparison: Comparison | None = None
        self.watchers: list[Watcher] = []
        self.step_watchers: list[StepWatcher] = []

    @property
    def passes(self) -> int:
        """Passes that a chunk takes in `test`; the plain one is shared by all methods."""
        return 1 + sum(method.passes - 1 for method in self.methods)

    def predict_step(self, batch: ChunkBatch, batch_idx: int) -> Prediction:
        """Run the method and return the estimates of its last step, at the mixture's original level."""
        if not batch.origins:
            return Prediction([], self.targets, self.separator.sample_rate, batch.mixture.unsqueeze(1), 0.0)
        stopwatch = Stopwatch(self.device)
        with stopwatch.running():
            first = self._plain_pass(batch, [self.method])
            for step, _ in self._run(self.method, batch, first):
                estimates = step.estimates
                for watch in self.step_watchers:
                    watch(step.step)
            estimates = estimates / _per_source(batch.gain)
        return Prediction(batch.origins, self.targets, self.separator.sample_rate, estimates, stopwatch.seconds)

    def on_test_start(self) -> None:
        self.comparison = None

    def test_step(self, batch: ChunkBatch, batch_idx: int) -> TestOutput:
        """Run every method on the same chunks, from one plain pass, and measure every step."""
        if not batch.origins:
            return TestOutput(batch=batch, rows=[], seconds={}, sound=None)
        if batch.references is None or batch.silent is None:
            raise MdxError("test needs the true sources: give songs with stems, --data.root FOLDER")
        watches = {method.name: Stopwatch(self.device) for method in self.methods}
        with watches[ONE_PASS].running():
            parts = [_Part(block, heard, self._plain_pass(heard, self.methods)) for block, heard in batch.parts()]
        plain = self._joined([part.block.kept(part.first.of(self.targets)) for part in parts])
        best = _Best(plain)
        last: dict[str, Tensor] = {}
        known = EvaluationContext(
            batch.mixture, batch.references, batch.silent, self.indices, self.separator.sample_rate
        )
        measures = [metric.prepare(known) for metric in self.metrics]
        rows: list[Row] = []
        for method in self.methods:
            for step, passes in watches[method.name].over(self._steps(method, parts)):
                values = {name: found for measure in measures for name, found in measure(step.estimates).items()}
                rows += self._rows(batch, method, step, passes, values)
                if method is self.method:
                    best.consider(step, values["si_sdr"])
            if method in (self.method, self.oracle):
                last[method.name] = step.estimates
        level = _per_source(batch.gain)
        sound = Sound(
            batch.mixture / level[:, 0], plain / level, best.estimates / level, best.step,
            last[self.method.name] / level, last[self.oracle.name] / level if self.oracle else None,
            batch.references[:, self.indices] / level,
        )  # fmt: skip
        seconds = {name: watch.seconds for name, watch in watches.items()}
        return TestOutput(batch=batch, rows=rows, seconds=seconds, sound=sound)

    def conclude(self, songs: Iterable[DataFrame]) -> None:
        """Compare the methods, for the callbacks.

        Args:
            songs: All rows of each song (see `results.Row`); one song at a time is enough to be in memory.
        """
        baseline, *others = self.methods
        scales = {name: scale for metric in self.metrics for name, scale in metric.scales.items()}
        values, gains = [], []
        for rows in songs:
            values.append(song_means(rows))
            for metric, of_metric in last_steps(rows).groupby("metric", sort=False):
                name = str(metric)
                gained = paired_gains(of_metric, name, baseline.name, scales[name].lower_is_better)
                gains.append(gained.assign(metric=name))
        results = concat(values, ignore_index=True)
        measured = set(results["metric"])
        self.comparison = Comparison(
            songs=results,
            gains=concat(gains, ignore_index=True),
            means=mean_curves(results),
            scales={name: scale for name, scale in scales.items() if name in measured},
            caption=title(type(self.separator).__name__, list(results["song"].unique())),
            baseline=baseline.name,
            oracle=self.oracle.name if self.oracle else None,
            between=[method.name for method in others if not method.needs_references],
        )

    def _steps(self, method: Method, parts: Sequence["_Part"]) -> Iterator[tuple[Step, int]]:
        """Yield the steps of a method as `_run`; those of several blocks are joined, and lie on disk until then."""
        if len(parts) == 1:
            (part,) = parts
            yield from self._run(method, part.batch, part.first, part.batch.references)
            return
        with TemporaryDirectory(prefix="mdx_progressive-") as folder:
            weights: list[list[Tensor]] = [[] for _ in range(method.steps + 1)]
            counts = [0] * (method.steps + 1)
            for part in parts:
                for step, passes in self._run(method, part.batch, part.first, part.batch.references):
                    BlockStore(Path(folder, str(step.step))).put(part.block.number, part.block.kept(step.estimates))
                    weights[step.step].append(step.weights)
                    counts[step.step] = max(counts[step.step], passes)
            for number, of_blocks in enumerate(weights):
                stored = BlockStore(Path(folder, str(number)))
                estimates = torch.cat(list(stored.joined(len(parts), self.separator.crossfade)), dim=-1)
                stored.remove()
                agreed = torch.where((torch.stack(of_blocks) == of_blocks[0]).all(dim=0), of_blocks[0], torch.nan)
                yield Step(number, agreed, estimates.to(self.device)), counts[number]

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        return parts[0] if len(parts) == 1 else torch.cat(list(join_blocks(parts, self.separator.crossfade)), dim=-1)

    def _plain_pass(self, batch: ChunkBatch, methods: Sequence[Method]) -> "_PlainPass":
        """One pass for all methods, over all sources that one of them has to know."""
        sources = tracked_sources(methods, self.separator.sources, self.targets)
        estimates = self.separator(batch.mixture, sources)
        for watch in self.watchers:
            watch(ONE_PASS, 1)
        return _PlainPass(sources, estimates)

    def _run(
        self, method: Method, batch: ChunkBatch, first: "_PlainPass", references: Tensor | None = None
    ) -> Iterator[tuple[Step, int]]:
        """Yield the steps of a method, each with the number of passes that it has taken so far."""
        sources = tracked_sources([method], self.separator.sources, self.targets)
        passes = Passes.of(self.separator, batch.mixture, sources)
        passes.watchers = [partial(watch, method.name) for watch in self.watchers]
        # Only a bound is told the truth.
        told = None
        if method.needs_references and references is not None:
            told = select_sources(references, self.separator.sources, sources)
        for step in method.run(passes, first.of(sources), told):
            of_targets = select_sources(step.estimates, sources, self.targets)
            weights = step.weights[[sources.index(target) for target in self.targets]]
            yield step._replace(estimates=of_targets, weights=weights), 1 + passes.count

    def _rows(
        self, batch: ChunkBatch, method: Method, step: Step, passes: int, values: dict[str, Tensor]
    ) -> Iterator[Row]:
        for metric, found in values.items():
            for origin, of_chunk in zip(batch.origins, found.tolist(), strict=True):
                for source, weight, value in zip(self.targets, step.weights.tolist(), of_chunk, strict=True):
                    yield Row(origin.song, origin.chunk, method.name, step.step, passes, weight, source, metric, value)


def _check_compiler() -> None:
    """`torch.compile` would notice at the first pass, and say so over many lines."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX") or "c++", "g++", "clang++", "cl")):
        raise MdxError(
            "model.compile needs a C++ compiler, and there is none: install one (apt-get install g++) or name it in CXX"
        )


class _PlainPass(NamedTuple):
    """The estimates (batch, source, channel, time) of the pass that all methods begin with."""

    sources: list[str]
    estimates: Tensor

    def of(self, sources: list[str]) -> Tensor:
        """The estimates of some of its sources."""
        return select_sources(self.estimates, self.sources, sources)


class _Part(NamedTuple):
    """A block of a batch of chunks, what it hears, and what the plain pass makes of that."""

    block: Block
    batch: ChunkBatch
    first: _PlainPass


class _Best:
    """Keeps, for each target of each chunk, the estimate with the highest value so far."""

    def __init__(self, first: Tensor) -> None:
        self.estimates = first
        self.value = first.new_full(first.shape[:2], -torch.inf)
        self.step = torch.zeros_like(self.value, dtype=torch.long)

    def consider(self, step: Step, value: Tensor) -> None:
        better = value > self.value
        self.value = torch.where(better, value, self.value)
        self.step = torch.where(better, step.step, self.step)
        self.estimates = torch.where(better[..., None, None], step.estimates, self.estimates)


def _per_source(gain: Tensor) -> Tensor:
    return gain[:, None, None, None]
