"""What the methods of one or several runs gain, with what has to be known to read it: the table of `compare`."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from mdx_progressive.evaluation.comparability import run_differences
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.run import Run
from mdx_progressive.evaluation.statistics import (
    CHOSEN,
    Gain,
    last_steps,
    leave_one_song_out,
    paired_gains,
    side_by_side,
    summarise,
)
from mdx_progressive.evaluation.timings import ONE_PASS, ComputeTime, compute_times, three_digits
from mdx_progressive.runtime import MdxError, counted


class GainTable(NamedTuple):
    """Gains of methods over one of them; of several runs the methods are named after their runs.

    Args:
        metric: Name of the metric.
        scale: How its values are read.
        against: The method that the others are compared with.
        gains: A line for each method and step.
        by_song: The gain of each method at its last step on each song and source (see `paired_gains`).
        reference_methods: The methods that are given the references.
        times: Computing times by method and last step: the time of a method is that of all its steps.
        one_pass_times: The time of one pass in words, for each run that has recorded it.
        warnings: How runs differ from the first one.
        warning_of: The same by the name of the method; empty for those of the first run and of runs like it.
    """

    metric: str
    scale: Scale
    against: str
    gains: Sequence[Gain]
    by_song: pd.DataFrame
    reference_methods: Sequence[str]
    times: Mapping[tuple[str, int], ComputeTime]
    one_pass_times: Sequence[str]
    warnings: Sequence[str]
    warning_of: Mapping[str, str]

    @property
    def sources(self) -> list[str]:
        """The sources that any method has a gain for."""
        return list(dict.fromkeys(source for gain in self.gains for source in gain.by_source))

    @property
    def heading(self) -> str:
        """What the table shows."""
        unit = f", {self.scale.unit}" if self.scale.unit else ""
        direction = " (lower is better: a gain is a fall)" if self.scale.lower_is_better else ""
        counts = {gain.songs for gain in self.gains}
        songs = counted(counts.pop(), "song") if len(counts) == 1 else "n songs"
        return f"Gain in {self.metric}{direction} over {self.against}{unit}; {songs}"

    def songs(self) -> pd.DataFrame:
        """The methods side by side for each song, in ascending order of the first one that needs no references."""
        methods = list(self.by_song["method"].unique())
        first = next((name for name in methods if name not in self.reference_methods), methods[0])
        return side_by_side(self.by_song, first)


def compare_runs(runs: Sequence[Run], against: str, every_step: bool = False, leave_one_out: bool = False) -> GainTable:
    """Compare the methods of runs, read for the same metric.

    Args:
        runs: The runs.
        against: The method that the others are compared with, within each run.
        every_step: Whether all steps have a line, not only the last one of each method.
        leave_one_out: Whether the gain of `leave_one_song_out` is added as a line.

    Raises:
        MdxError: If a run lacks the method, or its methods and songs don't suffice to leave one song out.
    """
    gains_of_runs, reference_methods, one_pass_times = [], [], []
    times: dict[str, ComputeTime] = {}
    for run, prefix in zip(runs, _prefixes(runs), strict=True):
        try:
            gains_of_run = paired_gains(run.rows, run.metric, against, run.scale)
        except MdxError as error:
            raise MdxError(f"{run.path}: {error}") from error
        gains_of_runs.append(gains_of_run.assign(method=prefix + gains_of_run["method"]))
        reference_methods += [prefix + method for method in run.reference_methods]
        if times_of_run := compute_times(run.timings):
            times |= {prefix + method: time for method, time in times_of_run.items()}
            seconds, devices = times_of_run[ONE_PASS].real_time_factor, ", ".join(run.timings["device"].unique())
            one_pass_times.append(f"{prefix}{ONE_PASS}: {three_digits(seconds)} s for a second of music ({devices})")
    table = pd.concat(gains_of_runs, ignore_index=True)
    by_song = last_steps(table)
    gains = summarise(table if every_step else by_song)
    warning_of_run = run_differences(runs, against)
    warnings = [warning for warning in warning_of_run if warning]
    if leave_one_out:
        if warnings and table.groupby("method")["song"].agg(frozenset).nunique() > 1:
            raise MdxError("--leave-one-out needs the same songs for all methods: " + "; ".join(warnings))
        chosen = leave_one_song_out(by_song[~by_song["method"].isin(reference_methods)])
        if chosen is None:
            raise MdxError("--leave-one-out needs two songs and two methods or more that don't need the true sources")
        gains.append(chosen)
    steps = by_song.groupby("method")["step"].first()
    warning_of = {
        method: warning
        for gains_of_run, warning in zip(gains_of_runs, warning_of_run, strict=True)
        for method in gains_of_run["method"].unique()
    }
    return GainTable(
        metric=runs[0].metric,
        scale=runs[0].scale,
        against=against,
        gains=gains,
        by_song=by_song,
        reference_methods=reference_methods,
        times={(method, steps[method]): time for method, time in times.items() if method in steps},
        one_pass_times=one_pass_times,
        warnings=warnings,
        warning_of={**warning_of, CHOSEN: "; ".join(warnings)},
    )


def _prefixes(runs: Sequence[Run]) -> list[str]:
    """What methods are named after: the folders of the runs below the one that holds all; nothing for a single run."""
    if len(runs) == 1:
        return [""]
    folders = [os.path.abspath(run.folder) for run in runs]
    names = [os.path.relpath(folder, os.path.commonpath(folders)) for folder in folders]
    return [f"{name} " for name in (names if "." not in names else [str(run.folder) for run in runs])]
