"""`mdx-progressive compare`: what methods of one or several runs of `test` gain, on the terminal and as a file."""

import math
import os
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from mdx_progressive.comparability import unlike
from mdx_progressive.errors import MdxError
from mdx_progressive.gains import Gain, choice, differences, last_steps, summary
from mdx_progressive.runs import METRIC_HELP, RUN_HELP, Run, read_run
from mdx_progressive.scales import Scale
from mdx_progressive.timings import PLAIN, Pace, paces
from mdx_progressive.whole_file import whole_file

_FORMATS = {".csv": None, ".md": "github", ".tex": "latex_booktabs"}
_STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": 0, "title_justify": "left", "caption_justify": "left"}
_DESCRIPTION = """\
What the methods of one or several runs of `test` gain over one pass (or over another method), paired song by song:
mean over songs and sources with the 95 % bootstrap interval over songs, share of songs and sources that improve,
worst case, Wilcoxon's test over songs, forward passes, time (seconds of computing for a second of music, and how
many times that of one pass; runs of older versions have none). What runs differ in beside their methods is named.

  mdx-progressive compare logs/demo/version_0
  mdx-progressive compare logs/run/version_3 logs/run/version_4 --against ensemble --metric sdr --out gains.md
"""


class _Found(NamedTuple):
    """What a run has found.

    Args:
        differences: What `differences` made of it.
        bounds: Its methods that are told the truth.
        scale: What the metric stands for.
        paces: What methods take in time, by name and last step: the time of a method is that of all its steps.
        clock: What one pass takes, in words; empty where it is not known.
    """

    differences: pd.DataFrame
    bounds: list[str]
    scale: Scale
    paces: dict[tuple[str, int], Pace]
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
    made.add_argument("--against", default=PLAIN, help=f"Method to compare with (default: {PLAIN}).")
    made.add_argument("--steps", action="store_true", help="Show every step, not the last one alone.")
    made.add_argument(
        "--leave-one-out",
        action="store_true",
        help="Also show what it gains to take, on each song, the method that is best on all other songs.",
    )
    made.add_argument(
        "--out", type=Path, metavar="FILE", help=f"Also write the table; its ending says how: {', '.join(_FORMATS)}."
    )
    return made


def compare(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If a run has no results, or lacks the metric or the method.
    """
    wanted = parser().parse_args(args)
    if wanted.out is not None and wanted.out.suffix not in _FORMATS:
        raise MdxError(f"--out {wanted.out}: the name must end in one of {', '.join(_FORMATS)}")
    read = [read_run(run, wanted.metric, "compare") for run in wanted.runs]
    runs = [_of_run(run, name, wanted) for run, name in zip(read, _names(read), strict=True)]
    cautions = unlike(read, wanted.against)
    table = pd.concat([run.differences for run in runs], ignore_index=True)
    bounds = {bound for run in runs for bound in run.bounds}
    scale = runs[0].scale
    ends = last_steps(table)
    times = {name: pace for run in runs for name, pace in run.paces.items()}
    gains = summary(table if wanted.steps else ends)
    if wanted.leave_one_out:
        if cautions and table.groupby("method")["song"].agg(frozenset).nunique() > 1:
            raise MdxError("--leave-one-out needs the same songs for all methods: " + "; ".join(cautions))
        chosen = choice(ends[~ends["method"].isin(bounds)])
        if chosen is None:
            raise MdxError("--leave-one-out needs two songs and two methods or more that don't need the true sources")
        gains.append(chosen)
    unit = f", {scale.unit}" if scale.unit else ""
    falls = " (lower is better: a gain is a fall)" if scale.lower_is_better else ""
    heading = f"Gain in {wanted.metric}{falls} over {wanted.against}{unit}"
    _print(gains, times, heading, [run.clock for run in runs if run.clock], cautions)
    if wanted.out is not None:
        _write(wanted.out, gains, times, cautions)


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
        table = differences(found.rows, wanted.metric, wanted.against, scale.lower_is_better)
    except MdxError as error:
        raise MdxError(f"{found.path}: {error}") from error
    last = last_steps(table).groupby("method")["step"].first()
    table["method"] = prefix + table["method"]
    taken, clock = paces(found.timings), ""
    if taken:
        devices = ", ".join(found.timings["device"].unique())
        clock = f"{prefix}{PLAIN}: {taken[PLAIN].real_time_factor:#.3g} s for a second of music ({devices})"
    return _Found(
        differences=table,
        bounds=[prefix + name for name in found.bounds],
        scale=scale,
        paces={(prefix + name, last[name]): pace for name, pace in taken.items() if name in last},
        clock=clock,
    )


def _print(
    gains: Sequence[Gain],
    times: Mapping[tuple[str, int], Pace],
    heading: str,
    clocks: Sequence[str],
    cautions: Sequence[str],
) -> None:
    sources = _sources(gains)
    counts = {gain.songs for gain in gains}
    heading += f"; {counts.pop()} songs" if len(counts) == 1 else "; n songs"
    of_counts = ["n"] if counts else []
    notes = "s/s: seconds of computing for a second of music. 95 %: bootstrap over songs. p: Wilcoxon over songs."
    overall = Table(title=heading, caption="\n".join([notes, *clocks]), **_STYLE)
    of_sources = Table(title="By source", **_STYLE)
    for table, columns in (
        (overall, [*of_counts, "passes", "time", "s/s", "mean", "95 %", "median", "better", "worst", "p"]),
        (of_sources, [*sources, "worst at"]),
    ):
        table.add_column("method", overflow="fold")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=column != "worst at")
    for gain in gains:
        name = f"{gain.method} {gain.step}"
        one_song = math.isnan(gain.low)
        pace = times.get((gain.method, gain.step))
        overall.add_row(
            name, *([str(gain.songs)] if of_counts else []), f"{gain.passes:.3g}",
            f"x{pace.over_one_pass:#.3g}" if pace else "", f"{pace.real_time_factor:#.3g}" if pace else "",
            f"{gain.mean:+.2f}", "" if one_song else f"{gain.low:+.2f} {gain.high:+.2f}",
            f"{gain.median:+.2f}", f"{gain.improved:.0%}", f"{gain.worst:+.2f}", "" if one_song else f"{gain.p:.1g}",
        )  # fmt: skip
        means = [f"{gain.by_source[source]:+.2f}" if source in gain.by_source else "" for source in sources]
        of_sources.add_row(name, *means, gain.worst_at)
    console = Console()
    console.print(overall)
    console.print(of_sources)
    for caution in cautions:
        console.print(f"Careful: {caution}", style="bold", markup=False, highlight=False, soft_wrap=True)


def _write(path: Path, gains: Sequence[Gain], times: Mapping[tuple[str, int], Pace], cautions: Sequence[str]) -> None:
    sources = _sources(gains)
    plain = [field for field in Gain._fields if field != "by_source"]
    rows = [
        {
            **{field: getattr(gain, field) for field in plain},
            **dict(zip(Pace._fields, times.get((gain.method, gain.step), (None, None)), strict=True)),
            **{source: gain.by_source.get(source) for source in sources},
        }
        for gain in gains
    ]
    style = _FORMATS[path.suffix]
    with whole_file(path) as temporary:
        if style is None:
            pd.DataFrame(rows).to_csv(temporary, index=False)
        else:
            comment = "% " if path.suffix == ".tex" else ""
            notes = "".join(f"\n{comment}Careful: {caution}\n" for caution in cautions)
            made = tabulate(rows, headers="keys", tablefmt=style, floatfmt=".3g")
            temporary.write_text(f"{made}\n{notes}", encoding="utf-8")
    print(f"wrote {path}")


def _sources(gains: Sequence[Gain]) -> list[str]:
    return list(dict.fromkeys(source for gain in gains for source in gain.by_source))
