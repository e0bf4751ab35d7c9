"""The tables of `compare` as files: CSV, or Markdown or LaTeX with what has to be known to read it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from tabulate import LATEX_ESCAPE_RULES, tabulate

from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.statistics import Gain
from mdx_progressive.evaluation.timings import ComputeTime
from mdx_progressive.runtime import atomic_write

FORMATS = {".csv": None, ".md": "github", ".tex": "latex_booktabs"}
"""Endings of files, and what tabulate calls their format."""
CAREFUL = "Careful: "
_COLUMNS = """\
mean: over songs, each the mean over its sources. median, improved, worst: over songs and sources, each the mean over \
its chunks; a column by source: over songs. low, high: 95 % bootstrap interval of the mean. p: Wilcoxon over songs. \
real_time_factor: seconds of computing for a second of music; over_one_pass: how many times that of one pass."""

_SONGS = "Differences within a song and source, of the means over the song's chunks, at each method's last step."


class GainTable(NamedTuple):
    """What methods gain, and what has to be known to read it.

    Args:
        metric: Name of the metric.
        scale: What its values stand for.
        against: The method that the others are compared with.
        gains: A line for each method and step.
        paces: What methods take in time, by name and last step.
        clocks: What one pass takes, in words, for each run that knows it.
        cautions: In what runs are not like the first one.
        careful: The same by the name of the method; empty for those of the first run and of runs like it.
    """

    metric: str
    scale: Scale
    against: str
    gains: Sequence[Gain]
    paces: Mapping[tuple[str, int], ComputeTime]
    clocks: Sequence[str]
    cautions: Sequence[str]
    careful: Mapping[str, str]

    @property
    def sources(self) -> list[str]:
        """The sources that any method has a gain for."""
        return list(dict.fromkeys(source for gain in self.gains for source in gain.by_source))

    @property
    def heading(self) -> str:
        """What the table shows."""
        unit = f", {self.scale.unit}" if self.scale.unit else ""
        falls = " (lower is better: a gain is a fall)" if self.scale.lower_is_better else ""
        counts = {gain.songs for gain in self.gains}
        songs = "n songs" if len(counts) != 1 else "1 song" if counts == {1} else f"{counts.pop()} songs"
        return f"Gain in {self.metric}{falls} over {self.against}{unit}; {songs}"

    def write(self, path: Path) -> None:
        """Write it as its ending says, one of `FORMATS`; the file appears when it is complete."""
        rows = self._rows()
        self._write(path, rows, rows, _COLUMNS)

    def write_songs(self, path: Path, differences: pd.DataFrame, beside: pd.DataFrame) -> None:
        """Write what is gained song by song instead: a row for each method as CSV, else the methods side by side.

        Args:
            path: The file, as for `write`.
            differences: The last steps of what `gains.differences` made.
            beside: What `gains.side_by_side` made of it.
        """
        self._write(path, _records(differences), _records(beside), _SONGS)

    def _write(
        self, path: Path, rows: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]], note: str
    ) -> None:
        style = FORMATS[path.suffix]
        with atomic_write(path) as temporary:
            if style is None:
                of_all = {"metric": self.metric, "unit": self.scale.unit, "against": self.against}
                rows = [{**of_all, **row, "careful": self.careful[row["method"]]} for row in rows]
                pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.9g")
            else:
                table = tabulate(shown, headers="keys", tablefmt=style, floatfmt=".3g")
                text = self._in_latex(table, note) if path.suffix == ".tex" else self._in_markdown(table, note)
                temporary.write_text(text, encoding="utf-8")

    def _rows(self) -> list[dict[str, Any]]:
        plain = [field for field in Gain._fields if field != "by_source"]
        rows = [
            {
                **{field: getattr(gain, field) for field in plain},
                **dict(zip(ComputeTime._fields, self.paces.get((gain.method, gain.step), (None, None)), strict=True)),
                **{source: gain.by_source.get(source) for source in self.sources},
            }
            for gain in self.gains
        ]
        return [_without_nan(row) for row in rows]

    def _in_markdown(self, table: str, note: str) -> str:
        cautions = (CAREFUL + caution for caution in self.cautions)
        return "\n\n".join([self.heading, table, note, *self.clocks, *cautions]) + "\n"

    def _in_latex(self, table: str, note: str) -> str:
        """Heading and notes are comments, for the caption of whoever takes the table in; what to beware of is not."""
        comments = [f"% {line}" for line in (self.heading, note, *self.clocks)]
        cautions = [rf"\par{{\footnotesize {CAREFUL}{_escaped(caution)}\par}}" for caution in self.cautions]
        return "\n".join([*comments, table, *cautions]) + "\n"


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [_without_nan(dict(zip(table.columns, row, strict=True))) for row in table.itertuples(index=False)]


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    """Tables leave the place of NaN empty: of one song there is no interval."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}


def _escaped(text: str) -> str:
    r"""A text as LaTeX prints it.

    Example:
        >>> print(_escaped("100 % of logs/my_run"))
        100 \% of logs/my\_run
    """
    return "".join(LATEX_ESCAPE_RULES.get(letter, letter) for letter in text)
