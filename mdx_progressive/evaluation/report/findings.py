"""The numbers of a report: what a run has found in one metric, method by method, source by source, song by song."""

import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.results import mean_curves, song_means
from mdx_progressive.evaluation.run import Run
from mdx_progressive.evaluation.statistics import Gain, last_steps, paired_gains, summarise
from mdx_progressive.evaluation.timings import compute_times
from mdx_progressive.runtime import MdxError


@dataclass(frozen=True)
class Entry:
    """A line of the table of songs; dB, NaN for what was not run or is silent.

    Args:
        song: Name of the song.
        source: Name of the source.
        one_pass: The plain pass.
        gains: What each method gains at its last step; the bounds last.
        best: What the method of the run gains at the step that is best on this song.
        best_step: That step; None where the source is silent.
    """

    song: str
    source: str
    one_pass: float
    gains: dict[str, float]
    best: float
    best_step: int | None


class Findings:
    """What a run has found in one metric.

    Args:
        run: The run.

    Raises:
        MdxError: If the run's summary does not name its methods, or the table lacks the first.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.metric = run.metric
        try:
            names: list[str] = list(run.facts["methods"])
            self.baseline, *others = names
        except (KeyError, TypeError, ValueError) as error:
            raise MdxError(f"{run.folder / 'summary.json'} does not name the methods of the run") from error
        try:
            self.scale = run.scale
            self.differences = paired_gains(run.rows, run.metric, self.baseline, self.scale.lower_is_better)
        except MdxError as error:
            raise MdxError(f"{run.path}: {error}") from error
        # `test` runs the oracle right after the plain pass; other methods that are told the truth come later.
        self.oracle_method = others[0] if others and others[0] in run.bounds else None
        self.methods = [name for name in others if name not in run.bounds]
        self.told = [name for name in others if name in run.bounds and name != self.oracle_method]
        rows = run.rows
        self.means = mean_curves(song_means(rows))
        self.paces = compute_times(run.timings)
        self.songs: list[str] = rows["song"].unique().tolist()
        self.sources: list[str] = rows[rows["value"].notna()]["source"].unique().tolist()
        self.left_out: dict[str, str] = dict(run.facts.get("failed") or {})
        """Songs that could not be read, with the reasons."""
        self.silent = int(rows[(rows["method"] == self.baseline)]["value"].isna().sum())
        self._rows = rows

    @property
    def label(self) -> str:
        """The metric as in charts: with its unit."""
        return self.scale.axis

    @property
    def title(self) -> str:
        """The metric as in sentences: without its unit."""
        return self.scale.label

    @property
    def unit(self) -> str:
        """The unit with a space before it; nothing where there is none."""
        return f" {self.scale.unit}" if self.scale.unit else ""

    @property
    def gain(self) -> str:
        """What the axis of gains is called; more is better, whatever the metric."""
        return Scale("gain over one pass", self.scale.unit).axis

    @property
    def method(self) -> str | None:
        """The method that the run was made for; the others are compared with it."""
        return self.methods[0] if self.methods else None

    @cached_property
    def gains(self) -> list[Gain]:
        """What the methods gain at their last step, over all songs and sources, in the order of the run."""
        return self.gains_of(None)

    def gains_of(self, source: str | None) -> list[Gain]:
        """What the methods gain at their last step for a source, or for all; the bounds last.

        Args:
            source: Name of the source.
        """
        table = last_steps(self.differences)
        found = {gain.method: gain for gain in summarise(table if source is None else table[table["source"] == source])}
        order = [*self.methods, *self.told, *([self.oracle_method] if self.oracle_method else [])]
        return [found[name] for name in order if name in found]

    @cached_property
    def best(self) -> Gain | None:
        """The method with the highest mean gain among those that are not told the truth."""
        return max((gain for gain in self.gains if gain.method in self.methods), key=lambda g: g.mean, default=None)

    @cached_property
    def oracle(self) -> Gain | None:
        """What the oracle gains at its last step."""
        return next((gain for gain in self.gains if gain.method == self.oracle_method), None)

    def by_passes(self, method: str, source: str) -> pd.DataFrame:
        """The mean gain of each step of a method for a source, with the columns step, passes and gain."""
        table = self.differences
        chosen = table[(table["method"] == method) & (table["source"] == source)]
        return chosen.groupby("step")[["passes", "gain"]].mean().reset_index()

    def ends(self, method: str, source: str) -> list[float]:
        """What a method gains at its last step for a source, song by song."""
        table = last_steps(self.differences)
        gains: list[float] = table[(table["method"] == method) & (table["source"] == source)]["gain"].tolist()
        return gains

    def value(self, song: str, chunk: int, source: str, method: str, step: int) -> float:
        """One measurement; NaN where there is none."""
        rows = self._rows
        for column, wanted in (
            ("song", song), ("chunk", chunk), ("source", source), ("method", method), ("step", step),
        ):  # fmt: skip
            rows = rows[rows[column] == wanted]
        return float(rows["value"].iloc[0]) if len(rows) else math.nan

    @cached_property
    def entries(self) -> list[Entry]:
        """The table of songs."""
        columns = [*self.methods, *self.told, *([self.oracle_method] if self.oracle_method else [])]
        ends = last_steps(self.differences).set_index(["song", "source", "method"])["gain"].to_dict()
        own = self.differences[self.differences["method"] == self.method]
        best = own.loc[own.groupby(["song", "source"])["gain"].idxmax()].set_index(["song", "source"])
        best_of = {
            key: (float(gain), int(step))
            for key, gain, step in zip(best.index, best["gain"], best["step"], strict=True)
        }
        baseline = (
            self._rows[self._rows["method"] == self.baseline].groupby(["song", "source"], sort=False)["value"].mean()
        )
        made = []
        for key, value in baseline.items():
            assert isinstance(key, tuple)
            song, source = map(str, key)
            gain, step = best_of.get(key, (math.nan, None))
            gains = {name: float(ends.get((song, source, name), math.nan)) for name in columns}
            made.append(Entry(song, source, float(value), gains, gain, step))
        return made
