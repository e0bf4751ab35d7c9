"""`mdx-progressive compare`: what methods of one or several runs of `test` gain, on the terminal and as a file."""

import math
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from mdx_progressive.evaluation import (
    METRIC_HELP,
    ONE_PASS,
    RUN_HELP,
    TABLE_FORMATS,
    WARNING,
    GainTable,
    compare_runs,
    read_run,
    three_digits,
    write_gains,
)
from mdx_progressive.runtime import MdxError, check_folder_of, escape_lines, escape_unprintable

_STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": 0, "title_justify": "left", "caption_justify": "left"}
_DESCRIPTION = """\
What the methods of one or several runs of `test` gain over one pass, or over
another method, paired song by song: mean over songs (each the mean over its
sources) with its 95 % interval, share of songs and sources that
improve, worst case, Wilcoxon's test over songs, passes, and time. Differences
of the runs other than their methods are listed.

  mdx-progressive compare logs/demo/version_0
  mdx-progressive compare logs/run/version_3 logs/run/version_4 \\
      --against ensemble --metric sdr --out gains.md
"""


def parser() -> ArgumentParser:
    """The options of the command."""
    options = ArgumentParser(
        prog="mdx-progressive compare", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    options.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=RUN_HELP)
    options.add_argument("--metric", default="si_sdr", help=METRIC_HELP)
    options.add_argument("--against", default=ONE_PASS, help=f"Method to compare with (default: {ONE_PASS}).")
    options.add_argument("--steps", action="store_true", help="Show every step, not only the last one.")
    options.add_argument(
        "--leave-one-out",
        action="store_true",
        help="Also show the gain of taking, for each song, the method that is best on all other songs.",
    )
    options.add_argument(
        "--songs",
        action="store_true",
        help="Also show the gains song by song, the worst of the first method first; --out then writes these.",
    )
    options.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"Also write the table; its ending is one of {', '.join(TABLE_FORMATS)}.",
    )
    return options


def compare(args: Sequence[str]) -> None:
    """Run the command.

    Raises:
        MdxError: If a run has no results, or lacks the metric or the method, or there is no folder for the table.
    """
    options = parser().parse_args(args)
    if options.out is not None and options.out.suffix not in TABLE_FORMATS:
        raise MdxError(f"--out {options.out}: the name must end in one of {', '.join(TABLE_FORMATS)}")
    if options.out is not None:
        check_folder_of(options.out, "--out")
    runs = [read_run(run, options.metric, "compare") for run in options.runs]
    table = compare_runs(runs, options.against, options.steps, options.leave_one_out)
    console = Console(markup=False)  # Brackets in a name are no markup.
    console.print(_overall(table))
    console.print()
    console.print(_by_source(table))
    if options.songs:
        console.print(_song_by_song(table.songs()))
    for warning in table.warnings:
        console.print(escape_unprintable(f"{WARNING}{warning}"), style="bold", highlight=False, soft_wrap=True)
    if options.out is not None:
        write_gains(table, options.out, by_song=options.songs)
        print(escape_unprintable(f"wrote {options.out}"))


def _overall(table: GainTable) -> Table:
    notes = "95 %: interval of the mean, Student's t over songs. better, worst: of song-sources. p: Wilcoxon's test."
    counts = ["n"] if len({gain.songs for gain in table.gains}) > 1 else []
    times = ["time\n/ one\npass", "s per\ns of\nmusic"] if table.times else []  # Runs of older versions have none.
    grid = Table(
        title=escape_unprintable(table.heading),
        caption=escape_lines("\n".join([notes, *table.one_pass_times])),
        **_STYLE,
    )
    grid.add_column("method, step", overflow="fold")
    for column in (*counts, "passes", *times, "mean", "95 %", "median", "better", "worst", "p"):
        grid.add_column(column, justify="right", no_wrap=True)
    for gain in table.gains:
        few_songs = math.isnan(gain.low)
        time = table.times.get((gain.method, gain.step))
        of_time = [f"x{three_digits(time.over_one_pass)}", three_digits(time.real_time_factor)] if time else ["", ""]
        grid.add_row(
            escape_unprintable(f"{gain.method} {gain.step}"),
            *([str(gain.songs)] if counts else []), f"{gain.passes:.3g}", *(of_time if times else []),
            f"{gain.mean:+.2f}", "" if few_songs else f"{gain.low:+.2f} {gain.high:+.2f}",
            f"{gain.median:+.2f}", f"{gain.improved:.0%}", f"{gain.worst:+.2f}", "" if few_songs else _p(gain.p),
        )  # fmt: skip
    return grid


def _p(value: float) -> str:
    """A p-value with two digits; of a small one the order counts."""
    return f"{value:.2g}" if value >= 0.01 else f"{value:.1g}"


def _by_source(table: GainTable) -> Table:
    grid = Table(title="Mean by source", **_STYLE)
    grid.add_column("method, step", overflow="fold")
    for source in table.sources:
        grid.add_column(escape_unprintable(source), justify="right", no_wrap=True)
    grid.add_column("worst at", justify="right")
    for gain in table.gains:
        means = [f"{gain.by_source[source]:+.2f}" if source in gain.by_source else "" for source in table.sources]
        grid.add_row(escape_unprintable(f"{gain.method} {gain.step}"), *means, escape_unprintable(gain.worst_at))
    return grid


def _song_by_song(songs: pd.DataFrame) -> Table:
    grid = Table(title="Song by song", **_STYLE)
    for column in songs.columns:
        grid.add_column(
            escape_unprintable(column), justify="left" if column in ("song", "source") else "right", overflow="fold"
        )
    for song, source, *gains in songs.itertuples(index=False):
        grid.add_row(
            escape_unprintable(song),
            escape_unprintable(source),
            *("" if math.isnan(gain) else f"{gain:+.2f}" for gain in gains),
        )
    return grid
