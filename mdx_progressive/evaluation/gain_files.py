"""The table of `compare` as a file: CSV, or Markdown or LaTeX with what has to be known to read it."""

from pathlib import Path

import pandas as pd
from tabulate import LATEX_ESCAPE_RULES, tabulate

from mdx_progressive.evaluation.gain_table import GainTable
from mdx_progressive.evaluation.statistics import Gain
from mdx_progressive.evaluation.summary import nan_to_none
from mdx_progressive.evaluation.timings import ComputeTime
from mdx_progressive.runtime import atomic_write

TABLE_FORMATS = (".csv", ".md", ".tex")
"""Endings of the files."""
WARNING = "Careful: "
_COLUMNS = """\
mean: over songs, each the mean over its sources. median, improved, worst: over songs and sources, each the mean over \
its chunks; a column by source: over songs. low, high: 95 % interval of the mean, by Student's t, \
from three songs on. lost: chunks of a source that are lost, which count at a floor. p: Wilcoxon over songs. \
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
    with atomic_write(path) as temporary:
        if path.suffix == ".csv":
            facts = {"metric": table.metric, "unit": table.scale.unit, "against": table.against}
            rows = pd.DataFrame({**facts, **rows, "careful": rows["method"].map(table.warning_of)})
            rows.to_csv(temporary, index=False, float_format="%.9g")
        else:
            write = _markdown if path.suffix == ".md" else _latex
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


def _tabulated(rows: pd.DataFrame, style: str) -> str:
    return tabulate(nan_to_none(rows.to_dict(orient="records")), headers="keys", tablefmt=style, floatfmt=".3g")


def _markdown(table: GainTable, rows: pd.DataFrame, note: str) -> str:
    warnings = (WARNING + warning for warning in table.warnings)
    return "\n\n".join([table.heading, _tabulated(rows, "github"), note, *table.one_pass_times, *warnings]) + "\n"


def _latex(table: GainTable, rows: pd.DataFrame, note: str) -> str:
    """Heading and notes are comments, for whoever writes the caption; warnings are printed below the table."""
    comments = [f"% {line}" for line in (table.heading, note, *table.one_pass_times)]
    warnings = [rf"\par{{\footnotesize {WARNING}{_escape_latex(warning)}\par}}" for warning in table.warnings]
    return "\n".join([*comments, _tabulated(rows, "latex_booktabs"), *warnings]) + "\n"


def _escape_latex(text: str) -> str:
    r"""A text as LaTeX prints it.

    Example:
        >>> print(_escape_latex("100 % of logs/my_run"))
        100 \% of logs/my\_run
    """
    return "".join(LATEX_ESCAPE_RULES.get(letter, letter) for letter in text)
