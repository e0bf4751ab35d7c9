"""`mdx-progressive compare`: what methods of one or several runs of `test` gain, on the terminal and as a file."""

import math
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from tabulate import tabulate

from mdx_progressive.errors import MdxError
from mdx_progressive.gains import Gain, choice, differences, last_steps, summary
from mdx_progressive.runs import read_run
from mdx_progressive.scales import Scale
from mdx_progressive.whole_file import whole_file

_FORMATS = {".csv": None, ".md": "github", ".tex": "latex_booktabs"}
_STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": 0, "title_justify": "left", "caption_justify": "left"}
_DESCRIPTION = """\
What the methods of one or several runs of `test` gain over one pass (or over another method), paired song by song:
mean over songs and sources with the 95 % bootstrap interval over songs, share of songs and sources that improve,
worst case, Wilcoxon's test over songs, forward passes.

  mdx-progressive compare logs/demo/version_0
  mdx-progressive compare logs/run/version_3 logs/run/version_4 --against ensemble --metric sdr --out gains.md
"""


def parser() -> ArgumentParser:
    """The options of the command."""
    made = ArgumentParser(
        prog="mdx-progressive compare", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    made.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="Folder of a run of `test`, or its results.csv."
    )
    made.add_argument("--metric", default="si_sdr", help="Name of the metric (default: si_sdr).")
    made.add_argument("--against", default="one-pass", help="Method to compare with (default: one-pass).")
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
    runs = [_of_run(run, wanted, alone=len(wanted.runs) == 1) for run in wanted.runs]
    table = pd.concat([each for each, *_ in runs], ignore_index=True)
    bounds = {bound for _, of_run, _ in runs for bound in of_run}
    scale = runs[0][2]
    ends = last_steps(table)
    gains = summary(table if wanted.steps else ends)
    if wanted.leave_one_out:
        chosen = choice(ends[~ends["method"].isin(bounds)])
        if chosen is None:
            raise MdxError("--leave-one-out needs two songs and two methods or more that don't need the true sources")
        gains.append(chosen)
    unit = f", {scale.unit}" if scale.unit else ""
    falls = " (lower is better: a gain is a fall)" if scale.lower_is_better else ""
    songs = table["song"].nunique()
    _print(gains, f"Gain in {wanted.metric}{falls} over {wanted.against}{unit}; {songs} songs")
    if wanted.out is not None:
        _write(wanted.out, gains)


def _of_run(run: Path, wanted: Namespace, alone: bool) -> tuple[pd.DataFrame, list[str], Scale]:
    """The differences of a run, which of its methods are bounds, and what the metric stands for.

    Methods are named after the run where there are several.
    """
    found = read_run(run)
    prefix, scale = "" if alone else f"{run} ", found.scale(wanted.metric)
    try:
        table = differences(found.rows, wanted.metric, wanted.against, scale.lower_is_better)
    except MdxError as error:
        raise MdxError(f"{found.path}: {error}") from error
    table["method"] = prefix + table["method"]
    return table, [prefix + name for name in found.bounds], scale


def _print(gains: Sequence[Gain], heading: str) -> None:
    sources = _sources(gains)
    overall = Table(title=heading, caption="95 %: bootstrap over songs. p: Wilcoxon over songs.", **_STYLE)
    of_sources = Table(title="By source", **_STYLE)
    for table, columns in (
        (overall, ["passes", "mean", "95 %", "median", "better", "worst", "p"]),
        (of_sources, [*sources, "worst at"]),
    ):
        table.add_column("method", overflow="fold")
        for column in columns:
            table.add_column(column, justify="right", no_wrap=column != "worst at")
    for gain in gains:
        name = f"{gain.method} {gain.step}"
        one_song = math.isnan(gain.low)
        overall.add_row(
            name, f"{gain.passes:.3g}", f"{gain.mean:+.2f}", "" if one_song else f"{gain.low:+.2f} {gain.high:+.2f}",
            f"{gain.median:+.2f}", f"{gain.improved:.0%}", f"{gain.worst:+.2f}", "" if one_song else f"{gain.p:.1g}",
        )  # fmt: skip
        means = [f"{gain.by_source[source]:+.2f}" if source in gain.by_source else "" for source in sources]
        of_sources.add_row(name, *means, gain.worst_at)
    console = Console()
    console.print(overall)
    console.print(of_sources)


def _write(path: Path, gains: Sequence[Gain]) -> None:
    sources = _sources(gains)
    plain = [field for field in Gain._fields if field != "by_source"]
    rows = [
        {
            **{field: getattr(gain, field) for field in plain},
            **{source: gain.by_source.get(source) for source in sources},
        }
        for gain in gains
    ]
    style = _FORMATS[path.suffix]
    with whole_file(path) as temporary:
        if style is None:
            pd.DataFrame(rows).to_csv(temporary, index=False)
        else:
            temporary.write_text(
                tabulate(rows, headers="keys", tablefmt=style, floatfmt=".3g") + "\n", encoding="utf-8"
            )
    print(f"wrote {path}")


def _sources(gains: Sequence[Gain]) -> list[str]:
    return list(dict.fromkeys(source for gain in gains for source in gain.by_source))
