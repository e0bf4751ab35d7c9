"""The numbers of a report: the results of a run in one metric, by method, by source, by song."""

import math
from functools import cached_property
from typing import NamedTuple

from mdx_progressive.evaluation.run import Run, read_settings, separator_label
from mdx_progressive.evaluation.statistics import Gain, last_steps, summarise
from mdx_progressive.evaluation.summary import compare_methods
from mdx_progressive.evaluation.timings import compute_times
from mdx_progressive.runtime import MdxError


def decimal(value: float, sign: bool = True) -> str:
    """A value as it is printed.

    Example:
        >>> decimal(-0.123), decimal(2), decimal(-0.001), decimal(2, sign=False)
        ('−0.12', '+2.00', '+0.00', '2.00')
    """
    if math.isnan(value):
        return "–"
    rounded = round(value, 2) + 0.0  # Adding zero takes the sign off a negative one.
    return f"{rounded:{'+' if sign else ''}.2f}".replace("-", "−")


def interval(gain: Gain) -> str:
    """The interval of a gain in words."""
    return f"95 % interval {decimal(gain.low)} to {decimal(gain.high)}"


class SongLine(NamedTuple):
    """A line of the table of songs, in the unit of the metric; NaN for what was not run or is silent.

    Args:
        song: Name of the song.
        source: Name of the source.
        one_pass: The plain pass.
        gains: The gain of each method at its last step.
        best: The gain of the run's method at its best step on this song.
        best_step: That step; None if the source is silent.
    """

    song: str
    source: str
    one_pass: float
    gains: dict[str, float]
    best: float
    best_step: int | None


class ReportData:
    """The results of a run in one metric.

    Args:
        run: The run.

    Raises:
        MdxError: If the run's summary does not name its methods, or the table lacks the first.
    """

    def __init__(self, run: Run) -> None:
        try:
            baseline, *others = run.facts["methods"]
        except (KeyError, TypeError, ValueError) as error:
            raise MdxError(f"{run.folder / 'summary.json'} does not name the methods of the run") from error
        self.run = run
        self.facts = run.facts
        self.metric = run.metric
        self.scale = run.scale
        self.unit = f" {run.scale.unit}" if run.scale.unit else ""
        self.separator = separator_label(read_settings(run.folder), str(run.facts.get("separator", "the separator")))
        # `test` runs the oracle right after the plain pass; other methods that are given the references come later.
        self.oracle: str | None = others[0] if others and others[0] in run.reference_methods else None
        self.methods = [name for name in others if name not in run.reference_methods]
        self.reference_methods = [name for name in others if name in run.reference_methods and name != self.oracle]
        self.reference_methods += [self.oracle] if self.oracle else []
        scales = {run.metric: run.scale}
        try:
            self.comparison = compare_methods([run.rows], scales, self.separator, baseline, self.oracle, self.methods)
        except MdxError as error:
            raise MdxError(f"{run.path}: {error}") from error
        self.last_gains = last_steps(self.comparison.gains)
        self.times = compute_times(run.timings)
        self.songs: list[str] = run.rows["song"].unique().tolist()
        self.sources: list[str] = run.rows[run.rows["value"].notna()]["source"].unique().tolist()
        self.failed: dict[str, str] = dict(run.facts.get("failed") or {})
        """Songs that could not be read, with the reasons."""
        self._baseline_rows = run.rows[run.rows["method"] == baseline]
        self.silent = int(self._baseline_rows["value"].isna().sum())
        """Number of chunks of sources without a value."""

    @property
    def method(self) -> str | None:
        """The method that the run was made for; the others are compared with it."""
        return self.methods[0] if self.methods else None

    @cached_property
    def gains(self) -> list[Gain]:
        """The gains of the methods at their last step, the highest first; those that are given the references come
        after all others.
        """
        gains = summarise(self.last_gains)
        return sorted(gains, key=lambda gain: (gain.method in self.reference_methods, -gain.mean))

    def source_gains(self, source: str) -> list[Gain]:
        """Those of one source, in the order of `gains`."""
        by_method = {gain.method: gain for gain in summarise(self.last_gains[self.last_gains["source"] == source])}
        return [by_method[gain.method] for gain in self.gains if gain.method in by_method]

    @cached_property
    def best(self) -> Gain | None:
        """The highest mean gain of a method that is not given the references."""
        return next((gain for gain in self.gains if gain.method in self.methods), None)

    def song_lines(self) -> list[SongLine]:
        """The table of songs."""
        last = self.last_gains.set_index(["song", "source", "method"])["gain"].to_dict()
        own = self.comparison.gains[self.comparison.gains["method"] == self.method]
        best = own.loc[own.groupby(["song", "source"])["gain"].idxmax()].set_index(["song", "source"])
        best_gains, best_steps = best["gain"].to_dict(), best["step"].to_dict()
        return [
            SongLine(
                song=key[0],
                source=key[1],
                one_pass=float(one_pass),
                gains={method: last.get((*key, method), math.nan) for method in self.methods + self.reference_methods},
                best=best_gains.get(key, math.nan),
                best_step=best_steps.get(key),
            )
            for key, one_pass in self._baseline_rows.groupby(["song", "source"], sort=False)["value"].mean().items()
        ]
