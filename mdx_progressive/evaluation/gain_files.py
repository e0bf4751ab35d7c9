"""The table of `compare` as a file: CSV, or Markdown or LaTeX with what has to be known to read it."""

import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from mdx_progressive.evaluation.gain_table import GainTable
from mdx_progressive.evaluation.statistics import Gain
from mdx_progressive.evaluation.summary import nan_to_none
from mdx_progressive.evaluation.timings import ComputeTime
from mdx_progressive.runtime import atomic_write, escape_latex, escape_markdown, escape_unprintable, write_table

TABLE_FORMATS = (".csv", ".md", ".tex")
"""Endings of the files."""
WARNING = "Careful: "
_COLUMNS = """\
mean: over songs, each the mean over its sources. median, improved, worst: over songs and sources, each the mean over \
its chunks; a column by source: over songs. low, high: 95 % bootstrap interval of the mean. p: Wilcoxon over songs. \
real_time_factor: seconds of computing for a second of music; over_one_pass: how many times that of one pass."""
_SONGS = "Differences within a song and source, of the means over the song's chunks, at each method's last step."


def write_gains(table: GainTable, path: Path, by_song: bool = False) -> None:
    """Write the table in the format of the file's ending; the file appears when it is complete.

    Args:
        table: The table.
        path: The file, with one of the endings `TABLE_FORMATS`.
        by_song: Whether the gains of the songs are written instead: a row for each method as CSV, else the methods
            side by side.
    """
    rows = _lines(table)
    if by_song:
        rows = table.by_song if path.suffix == ".csv" else table.songs()
    if path.suffix == ".csv":
        facts = {"metric": table.metric, "unit": table.scale.unit, "against": table.against}
        rows = pd.DataFrame({**facts, **rows, "careful": rows["method"].map(table.warning_of)})
        write_table(path, list(rows.columns), ([*map(_csv_number, row)] for row in rows.itertuples(index=False)))
        return
    write = _markdown if path.suffix == ".md" else _latex
    with atomic_write(path) as temporary:
        temporary.write_text(write(table, rows, _SONGS if by_song else _COLUMNS), encoding="utf-8")


def _lines(table: GainTable) -> pd.DataFrame:
    columns = [field for field in Gain._fields if field != "by_source"]
    return pd.DataFrame(
        {
            **{column: getattr(gain, column) for column in columns},
            **dict(zip(ComputeTime._fields, table.times.get((gain.method, gain.step), (None, None)), strict=True)),
            **{source: gain.by_source.get(source) for source in table.sources},
        }
        for gain in table.gains
    )


def _csv_number(cell: object) -> object:
    """A number of a table as CSV has it, nine digits at most, and nothing for NaN; a text stays."""
    if isinstance(cell, float):
        return "" if math.isnan(cell) else float(f"{cell:.9g}")
    return cell


def _tabulated(rows: pd.DataFrame, style: str, escape: Callable[[str], str]) -> str:
    texts = {name: cells for name, cells in rows.items() if any(isinstance(cell, str) for cell in cells)}
    numparse = [place for place, name in enumerate(rows) if name in texts]  # A song may be called as a number.
    escaped = rows.assign(**{str(name): cells.map(escape, na_action="ignore") for name, cells in texts.items()})
    escaped = escaped.rename(columns=escape)
    records = nan_to_none(escaped.to_dict(orient="records"))
    return tabulate(records, headers="keys", tablefmt=style, floatfmt=".3g", disable_numparse=numparse)


def _markdown(table: GainTable, rows: pd.DataFrame, note: str) -> str:
    heading, *more = map(escape_markdown, (table.heading, *table.one_pass_times, *_warnings(table)))
    return "\n\n".join([heading, _tabulated(rows, "github", escape_markdown), note, *more]) + "\n"


def _latex(table: GainTable, rows: pd.DataFrame, note: str) -> str:
    """Heading and notes are comments, for whoever writes the caption; warnings are printed below the table."""
    comments = [f"% {escape_unprintable(line)}" for line in (table.heading, note, *table.one_pass_times)]
    warnings = [rf"\par{{\footnotesize {escape_latex(warning)}\par}}" for warning in _warnings(table)]
    # It escapes its cells on its own, unless it is told not to.
    return "\n".join([*comments, _tabulated(rows, "latex_booktabs", escape_unprintable), *warnings]) + "\n"


def _warnings(table: GainTable) -> list[str]:
    return [WARNING + warning for warning in table.warnings]
