"""The table of results: one row per song, chunk, method, step, source and metric; its file and its means."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.runtime import MdxError, atomic_write, write_table


class Row(NamedTuple):
    """One measurement.

    Args:
        song: Name of the song.
        chunk: Number of the chunk within the song.
        method: Name of the method.
        step: Number of the step; 0 is the plain pass.
        passes: Passes that an estimate of the source has cost by then, the plain one among them.
        weight: Blend weight of the estimate in the input of that step.
        source: Name of the source.
        metric: Name of the metric.
        value: Its value; NaN or infinite where it can't be measured (see `metrics`).
    """

    song: str
    chunk: int
    method: str
    step: int
    passes: int
    weight: float
    source: str
    metric: str
    value: float


COLUMNS = Row._fields
AGGREGATION = "mean over songs of the mean over each song's chunks"
"""How the means of a run come about."""
NO_VALUE = ("silent", "undefined", "infinite")
"""Why a chunk may have no finite value (see `metrics`)."""
_CURVE = ["metric", "method", "source", "step"]
_FORM: dict[str, Any] = {
    "dtype": {"song": str, "method": str, "source": str, "metric": str},
    "keep_default_na": False,  # A song may be called NA.
    "na_values": {"weight": ["nan"], "value": ["nan"]},
}
_PIECE = 100_000
"""Rows that are read at a time."""


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write the whole table; the file appears, or replaces an older one, when it is complete."""
    rounded = (row._replace(weight=round(row.weight, 9), value=round(row.value, 6)) for row in rows)
    write_table(path, COLUMNS, rounded)


def read_rows(path: Path) -> pd.DataFrame:
    """The whole table of a run."""
    found: pd.DataFrame = pd.read_csv(path, **_FORM)
    return found


def read_metric(path: Path, metric: str) -> pd.DataFrame:
    """The rows of one metric in the table of a run; those of the others are not in memory together.

    Raises:
        MdxError: If there is no such metric.
        ValueError: If it is no such table.
    """
    found: list[pd.DataFrame] = []
    there: dict[str, None] = {}
    with pd.read_csv(path, chunksize=_PIECE, **_FORM) as pieces:
        for piece in pieces:
            if missing := [column for column in COLUMNS if column not in piece.columns]:
                raise ValueError(f"it has no column {', '.join(missing)}")
            there |= dict.fromkeys(piece["metric"].unique())
            found.append(piece[piece["metric"] == metric])
    if metric not in there:
        raise MdxError(f"{path}: there is no metric {metric} in the results, only {', '.join(there)}")
    return pd.concat(found)


def read_songs(path: Path) -> Iterator[pd.DataFrame]:
    """The rows of one song after the other, which stand together in the table of a run; one song is in memory."""
    begun: list[pd.DataFrame] = []
    with pd.read_csv(path, chunksize=_PIECE, **_FORM) as pieces:
        for piece in pieces:
            songs = [rows for _, rows in pd.concat([*begun, piece]).groupby("song", sort=False)]
            yield from songs[:-1]
            begun = songs[-1:]
    yield from begun


def to_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a data frame with the columns of `Row`."""
    return pd.DataFrame(rows, columns=list(COLUMNS))


def song_means(results: pd.DataFrame) -> pd.DataFrame:
    """What is left of each song for every metric, method, source and step: the mean over its chunks.

    What has no finite value is left out and counted, by its reason (see `metrics`).

    Args:
        results: A table of rows, of one song or several, each of them whole.

    Returns:
        A table with the columns metric, method, source, step, song, passes, weight, value (NaN where no chunk has one),
        chunks, silent, undefined and infinite (how many chunks there were, and had no value), in the order of the rows.
    """
    values = results["value"]
    # Silence is a property of the true source: by no metric, method or step there is a value.
    heard = values.notna().groupby([results["song"], results["chunk"], results["source"]]).transform("any")
    infinite = np.isinf(values)
    marked = results.assign(
        value=values.mask(infinite), silent=~heard, undefined=heard & values.isna(), infinite=infinite
    )
    grouped = marked.groupby([*_CURVE, "song"], sort=False)
    return pd.DataFrame(
        {
            "passes": grouped["passes"].first(),
            "weight": grouped["weight"].first(),
            "value": grouped["value"].mean(),
            "chunks": grouped.size(),
            **{reason: grouped[reason].sum() for reason in NO_VALUE},
        }
    ).reset_index()


def mean_curves(songs: pd.DataFrame) -> pd.DataFrame:
    """Mean, minimum and maximum over songs for every metric, method, source and step.

    Args:
        songs: The table that `song_means` makes.

    Returns:
        A table with the columns metric, method, source, step, passes, weight, mean, min, max, songs (how many had a
        value), silent, undefined and infinite (how many chunks had none), in the order in which the methods were run.
    """
    grouped = songs.groupby(_CURVE, sort=False)
    values = grouped["value"]
    return pd.DataFrame(
        {
            "passes": grouped["passes"].first(),
            "weight": grouped["weight"].first(),
            "mean": values.mean(),
            "min": values.min(),
            "max": values.max(),
            "songs": values.count(),
            **{reason: grouped[reason].sum() for reason in NO_VALUE},
        }
    ).reset_index()


def title(separator: str, songs: Sequence[str]) -> str:
    """What was measured on which songs, in a line.

    Example:
        >>> title("Spleeter", ["a song"])
        'Spleeter, a song'
    """
    return f"{separator}, {songs[0] if len(songs) == 1 else f'mean over {len(songs)} songs'}"


def select_curve(means: pd.DataFrame, metric: str, method: str, source: str) -> pd.DataFrame:
    """The curve of one method for one source, by step."""
    chosen = (means["metric"] == metric) & (means["method"] == method) & (means["source"] == source)
    return means[chosen].set_index("step").sort_index()


class Comparison(NamedTuple):
    """What a run of `test` has found, for its tables and charts.

    Args:
        songs: The table that `song_means` makes of what was measured.
        gains: What the methods gain over the lower bound at their last step on each song: for each metric what
            `gains.differences` makes, with the metric's name in a further column.
        means: The table that `mean_curves` makes of the songs.
        scales: What the numbers of each metric stand for.
        caption: What was measured, on which songs.
        baseline: The method that is the lower bound.
        oracle: The method that is the upper bound, if it was run.
        between: The methods between them.
    """

    songs: pd.DataFrame
    gains: pd.DataFrame
    means: pd.DataFrame
    scales: dict[str, Scale]
    caption: str
    baseline: str
    oracle: str | None
    between: list[str]

    @property
    def listed(self) -> list[str]:
        """The methods that tables have lines of: those between the bounds, or the baseline where there are none."""
        return self.between or [self.baseline]


class SummaryLine(NamedTuple):
    """The bounds and the ends of one method for one source; mean over songs.

    Args:
        source: Name of the source.
        passes: Passes that the last step of the method has cost.
        one_pass: The plain pass, the lower bound.
        best_step: The step with the highest mean; known only in hindsight, with the references.
        best: The mean at that step.
        last_step: The last step.
        last: The mean at that step.
        oracle: The oracle at that step, the upper bound, which grows with the step; NaN where it was not run.
    """

    source: str
    passes: int
    one_pass: float
    best_step: int
    best: float
    last_step: int
    last: float
    oracle: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The numbers as tables show them, below `LINE_COLUMNS`."""
        return (
            str(self.passes),
            f"{self.one_pass:.2f}",
            f"{self.best:.2f} ({self.best_step})",
            f"{self.last:.2f} ({self.last_step})",
            "" if math.isnan(self.oracle) else f"{self.oracle:.2f} ({self.last_step})",
        )


LINE_COLUMNS = ("passes", "one-pass", "best step", "last step", "oracle")


def summary_lines(comparison: Comparison, metric: str, method: str) -> list[SummaryLine]:
    """One line for each source, in the order of the results; a source that was always silent is left out.

    Args:
        comparison: What was found.
        metric: Name of the metric.
        method: The method that the lines are of.
    """
    means, oracle = comparison.means, comparison.oracle
    lower_is_better = comparison.scales[metric].lower_is_better
    found = []
    for source in means["source"].unique():
        mean = select_curve(means, metric, method, source)["mean"].dropna()
        if mean.empty:
            continue
        bound = select_curve(means, metric, oracle, source)["mean"] if oracle else mean.iloc[:0]
        steps = mean.index.tolist()
        best = int(mean.argmin() if lower_is_better else mean.argmax())
        found.append(
            SummaryLine(
                source,
                passes=int(select_curve(means, metric, method, source)["passes"].iloc[-1]),
                one_pass=float(select_curve(means, metric, comparison.baseline, source)["mean"].iloc[0]),
                best_step=steps[best],
                best=float(mean.iloc[best]),
                last_step=steps[-1],
                last=float(mean.iloc[-1]),
                oracle=float(bound.get(steps[-1], math.nan)),
            )
        )
    return found


def write_summary(path: Path, means: pd.DataFrame, facts: dict[str, object]) -> None:
    """Write the facts of the run and the mean curves as JSON, whole or not at all."""
    content: dict[str, object] = {
        **facts,
        "aggregation": f"{AGGREGATION}; silent, undefined and infinite left out",
    }
    shown = ["step", "passes", "weight", "mean", "min", "max", "songs", *NO_VALUE]
    for metric, of_metric in means.groupby("metric", sort=False):
        content[str(metric)] = {
            str(method): {
                str(source): curve[shown].round(6).to_dict(orient="list")
                for source, curve in of_method.groupby("source", sort=False)
            }
            for method, of_method in of_metric.groupby("method", sort=False)
        }
    text = json.dumps(_without_nan(content), indent=2, ensure_ascii=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _without_nan(node: object) -> object:
    """JSON knows no NaN: a value that does not exist is null."""
    if isinstance(node, dict):
        return {key: _without_nan(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_without_nan(value) for value in node]
    return None if isinstance(node, float) and math.isnan(node) else node
