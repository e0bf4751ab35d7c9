"""`mdx-progressive compare`: what methods of one or several runs of `test` gain, on the terminal and as a file."""

import math
import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive.evaluation import (
    CAREFUL,
    CHOSEN,
    FORMATS,
    METRIC_HELP,
    ONE_PASS,
    RUN_HELP,
    ComputeTime,
    GainTable,
    Run,
    Scale,
    compute_times,
    last_steps,
    leave_one_song_out,
    paired_gains,
    read_run,
    run_differences,
    side_by_side,
    summarise,
)
from mdx_progressive.runtime import MdxError

_STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": 0, "title_justify": "left", "caption_justify": "left"}
_DESCRIPTION = """\
What the methods of one or several runs of `test` gain over one pass (or over another method), paired song by song:
mean over songs (each the mean over its sources) with its 95 % bootstrap interval, share of songs and sources that
improve, worst case, Wilcoxon's test over songs, forward passes, time (seconds of computing for a second of music,
and how many times that of one pass; runs of older versions have none). What runs differ in beside their methods is
named.

  mdx-progressive compare logs/demo/version_0
  mdx-progressive compare logs/run/version_3 logs/run/version_4 --against ensemble --metric sdr --out gains.md
"""


class _Found(NamedTuple):
    """What a run has found.

    Args:
        gains: What `paired_gains` made of it.
        bounds: Its methods that are told the truth.
        scale: What the metric stands for.
        times: What methods take in time, by name and last step: the time of a method is that of all its steps.
        clock: What one pass takes, in words; empty where it is not known.
    """

    gains: pd.DataFrame
    bounds: list[str]
    scale: Scale
    times: dict[tuple[str, int], ComputeTime]
    clock: str


def parser() -> ArgumentParser:
    """The options of the command."""
    made = ArgumentParser(
        prog="mdx-progressive compare", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    made.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help=RUN_HELP,
    )
    made.add_argument(
        "--metric",
        default="si_sdr",
        help=METRIC_HELP,
    )
    made.add_argument("--against", default=ONE_PASS, help=f"Method to compare with (default: {ONE_PASS}).")
    made.add_argument("--steps", action="store_true", help="Show every step, not the last one alone.")
    made.add_argument(
        "--leave-one-out",
        action="store_true",
        help="Also show what it gains to take, on each song, the method that is best on all other songs.",
    )
    made.add_argument(
        "--songs",
        action="store_true",
        help="Also show the gains song by song, the worst of the first method first; --out writes these, then.",
    )
    made.add_argument(
        "--out", type=Path, metavar="FILE", help=f"Also write the table; its ending says how: {', '.join(FORMATS)}."
    )
    return made


def compare(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If a run has no results, or lacks the metric or the method.
    """
    wanted = parser().parse_args(args)
    if wanted.out is not None and wanted.out.suffix not in FORMATS:
        raise MdxError(f"--out {wanted.out}: the name must end in one of {', '.join(FORMATS)}")
    read = [read_run(run, wanted.metric, "compare") for run in wanted.runs]
    runs = [_of_run(run, name, wanted) for run, name in zip(read, _names(read), strict=True)]
    unlikenesses = run_differences(read, wanted.against)
    cautions = [caution for caution in unlikenesses if caution]
    table = pd.concat([run.gains for run in runs], ignore_index=True)
    bounds = {bound for run in runs for bound in run.bounds}
    ends = last_steps(table)
    times = {name: pace for run in runs for name, pace in run.times.items()}
    gains = summarise(table if wanted.steps else ends)
    if wanted.leave_one_out:
        if cautions and table.groupby("method")["song"].agg(frozenset).nunique() > 1:
            raise MdxError("--leave-one-out needs the same songs for all methods: " + "; ".join(cautions))
        chosen = leave_one_song_out(ends[~ends["method"].isin(bounds)])
        if chosen is None:
            raise MdxError("--leave-one-out needs two songs and two methods or more that don't need the true sources")
        gains.append(chosen)
    careful = {
        method: caution
        for run, caution in zip(runs, unlikenesses, strict=True)
        for method in run.gains["method"].unique()
    }
    made = GainTable(
        metric=wanted.metric,
        scale=runs[0].scale,
        against=wanted.against,
        gains=gains,
        paces=times,
        clocks=[run.clock for run in runs if run.clock],
        cautions=cautions,
        careful={**careful, CHOSEN: "; ".join(cautions)},
    )
    beside = None
    if wanted.songs:
        beside = side_by_side(
            ends, next((name for name in ends["method"] if name not in bounds), ends["method"].iloc[0])
        )
    _print(made, beside)
    if wanted.out is not None:
        if beside is None:
            made.write(wanted.out)
        else:
            made.write_songs(wanted.out, ends, beside)
        print(f"wrote {wanted.out}")


def _names(runs: Sequence[Run]) -> list[str]:
    """What tells the runs from each other: their folders below the one that holds all; nothing for a single run."""
    if len(runs) == 1:
        return [""]
    folders = [os.path.abspath(run.folder) for run in runs]
    names = [os.path.relpath(folder, os.path.commonpath(folders)) for folder in folders]
    return names if "." not in names else [str(run.folder) for run in runs]


def _of_run(found: Run, name: str, wanted: Namespace) -> _Found:
    """What a run has found; its methods are named after it where there are several."""
    prefix, scale = name and f"{name} ", found.scale
    try:
        table = paired_gains(found.rows, wanted.metric, wanted.against, scale.lower_is_better)
    except MdxError as error:
        raise MdxError(f"{found.path}: {error}") from error
    last = last_steps(table).groupby("method")["step"].first()
    table["method"] = prefix + table["method"]
    taken, clock = compute_times(found.timings), ""
    if taken:
        devices = ", ".join(found.timings["device"].unique())
        clock = f"{prefix}{ONE_PASS}: {taken[ONE_PASS].real_time_factor:#.3g} s for a second of music ({devices})"
    return _Found(
        gains=table,
        bounds=[prefix + name for name in found.bounds],
        scale=scale,
        times={(prefix + name, last[name]): pace for name, pace in taken.items() if name in last},
        clock=clock,
    )


def _print(made: GainTable, beside: pd.DataFrame | None) -> None:
    of_counts = ["n"] if len({gain.songs for gain in made.gains}) > 1 else []
    notes = "s/s: seconds of computing for a second of music. 95 %: bootstrap over songs. p: Wilcoxon over songs."
    overall = Table(title=made.heading, caption="\n".join([notes, *made.clocks]), **_STYLE)
    of_sources = Table(title="By source", **_STYLE)
    for table, columns in (
        (overall, [*of_counts, "passes", "time", "s/s", "mean", "95 %", "median", "better", "worst", "p"]),
        (of_sources, [*made.sources, "worst at"]),
    ):
        table.add_column("method", overflow="fold")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=column != "worst at")
    for gain in made.gains:
        name = f"{gain.method} {gain.step}"
        one_song = math.isnan(gain.low)
        pace = made.paces.get((gain.method, gain.step))
        overall.add_row(
            name, *([str(gain.songs)] if of_counts else []), f"{gain.passes:.3g}",
            f"x{pace.over_one_pass:#.3g}" if pace else "", f"{pace.real_time_factor:#.3g}" if pace else "",
            f"{gain.mean:+.2f}", "" if one_song else f"{gain.low:+.2f} {gain.high:+.2f}",
            f"{gain.median:+.2f}", f"{gain.improved:.0%}", f"{gain.worst:+.2f}", "" if one_song else f"{gain.p:.1g}",
        )  # fmt: skip
        means = [f"{gain.by_source[source]:+.2f}" if source in gain.by_source else "" for source in made.sources]
        of_sources.add_row(name, *means, gain.worst_at)
    console = Console(markup=False)  # Brackets in a name are its own.
    console.print(overall)
    console.print(of_sources)
    if beside is not None:
        console.print(_of_songs(beside))
    for caution in made.cautions:
        console.print(f"{CAREFUL}{caution}", style="bold", highlight=False, soft_wrap=True)


def _of_songs(beside: pd.DataFrame) -> Table:
    table = Table(title="Song by song", **_STYLE)
    for column in beside.columns:
        words = column in ("song", "source")
        table.add_column(column, justify="left" if words else "right", overflow="fold")
    for song, source, *gains in beside.itertuples(index=False):
        table.add_row(song, source, *("" if math.isnan(gain) else f"{gain:+.2f}" for gain in gains))
    return table
