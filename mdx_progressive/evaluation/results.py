"""The table of results: one row per song, chunk, method, step, source and metric; its file and its means."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.presets import nearest
from mdx_progressive.runtime import MdxError, abridged, read_cell, write_table


class Row(NamedTuple):
    """One measurement.

    Args:
        song: Name of the song.
        chunk: Number of the chunk within the song.
        method: Name of the method.
        step: Number of the step; 0 is the plain pass.
        passes: Network passes over the chunk for all targets up to this step, including the plain pass.
        weight: Blend weight of the estimate in the input of that step.
        source: Name of the source.
        metric: Name of the metric.
        value: Its value; NaN or infinite if it can't be measured (see `metrics`).
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
NO_VALUE = ("silent", "undefined", "infinite")
"""The reasons for which a chunk has no value that means can take (see `metrics`)."""
COUNTS = (*NO_VALUE, "lost")
"""What is counted beside every mean: chunks without a value, and those that count as lost."""
_CURVE = ["metric", "method", "source", "step"]
_TYPES = {
    "song": str, "chunk": "int64", "method": str, "step": "int64", "passes": "int64", "weight": "float64",
    "source": str, "metric": str, "value": "float64",
}  # fmt: skip
_READ_OPTIONS: dict[str, Any] = {
    "usecols": COLUMNS,
    "dtype": _TYPES,
    "keep_default_na": False,  # A song may be called NA.
    "na_values": {"weight": ["nan"], "value": ["nan"]},
}
_HIGHEST = 1_000_000
"""Of a chunk, a step and passes: what is above has another meaning."""
_ROWS_AT_ONCE = 100_000
"""Rows that are read at a time."""


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write the whole table; the file appears, or replaces an older one, when it is complete."""
    rounded = (row._replace(weight=round(row.weight, 9), value=round(row.value, 6)) for row in rows)
    write_table(path, COLUMNS, rounded)


def read_rows(path: Path) -> pd.DataFrame:
    """The whole table of a run."""
    return _checked(pd.read_csv(path, **_READ_OPTIONS))


def read_metric(path: Path, metric: str) -> pd.DataFrame:
    """The rows of one metric in the table of a run; those of the others are never in memory together.

    Raises:
        MdxError: If there is no such metric.
        ValueError: If it is no table of results.
    """
    tables: list[pd.DataFrame] = []
    metrics: dict[str, None] = {}
    with pd.read_csv(path, chunksize=_ROWS_AT_ONCE, **_READ_OPTIONS) as reader:
        for rows in reader:
            metrics |= dict.fromkeys(rows["metric"].unique())
            tables.append(_checked(rows[rows["metric"] == metric]))
    if metric not in metrics:
        raise MdxError(f"{path}: {unknown('metric', metric, list(metrics))}")
    table = pd.concat(tables)
    place = table.duplicated(["song", "chunk", "method", "step", "source"])
    if place.any():
        song, chunk, method, step, *_ = table[place].iloc[0]
        raise ValueError(f"it has step {step} of {method} on chunk {chunk} of {song} twice")
    return table


def unknown(kind: str, name: str, names: Sequence[str]) -> str:
    """The message for a name that results don't have, with those that they have and the nearest.

    Example:
        >>> unknown("metric", "srd", ["sdr", "si_sdr"])
        "there is no metric 'srd', but sdr, si_sdr (sdr?)"
    """
    close = nearest(name, names, 1)
    return f"there is no {kind} {name!r}, but {abridged(', '.join(names))}" + (f" ({close[0]}?)" if close else "")


def read_songs(path: Path) -> Iterator[pd.DataFrame]:
    """The rows of each song, which are adjacent in the table of a run; one song is in memory at a time."""
    incomplete: list[pd.DataFrame] = []
    with pd.read_csv(path, chunksize=_ROWS_AT_ONCE, **_READ_OPTIONS) as reader:
        for rows in reader:
            songs = [song for _, song in pd.concat([*incomplete, _checked(rows)]).groupby("song", sort=False)]
            yield from songs[:-1]
            incomplete = songs[-1:]
    yield from incomplete


def _checked(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with their names as they were measured (see `write_table`).

    Raises:
        ValueError: If a number can't be one of `test`.
    """
    for column in ("chunk", "step", "passes"):
        if not rows[column].between(0, _HIGHEST).all():
            raise ValueError(f"it has a {column} that is not from 0 to {_HIGHEST}")
    return read_texts(rows)


def read_texts(table: pd.DataFrame) -> pd.DataFrame:
    """A table of CSV with its texts as they were before `write_table` has marked them."""
    texts = {str(name): column for name, column in table.items() if not is_numeric_dtype(column)}
    return table.assign(
        **{name: column.map({cell: read_cell(cell) for cell in column.unique()}) for name, column in texts.items()}
    )


def to_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a data frame with the columns of `Row`."""
    return pd.DataFrame(rows, columns=list(COLUMNS))


def split_songs(rows: Sequence[Row]) -> Iterator[pd.DataFrame]:
    """The rows of each song, as `read_songs` gives those of a table; in the order of songs and chunks."""
    table = to_table(rows).sort_values(["song", "chunk"], kind="stable")
    for _, song in table.groupby("song", sort=False):
        yield song


def counted_values(rows: pd.DataFrame, scale: Scale) -> pd.DataFrame:
    """The values of one metric as means and gains take them (see `metrics`).

    Args:
        rows: All rows of the metric, of one song or several, each of them complete.
        scale: How its values are read.

    Returns:
        The table with its `value` replaced by `scale.floor` where the source is lost, and by NaN where it is infinitely
        good; and a further column `lost`.
    """
    values, worst = rows["value"], np.inf if scale.lower_is_better else -np.inf
    has_value = values.notna().groupby([rows["song"], rows["chunk"], rows["source"]]).transform("any")
    beyond = values >= scale.floor if scale.lower_is_better else values <= scale.floor
    lost = (beyond & (values != -worst)) | (values.isna() & has_value)
    return rows.assign(value=values.mask(lost, scale.floor).mask(values == -worst), lost=lost)


def song_means(results: pd.DataFrame, scales: Mapping[str, Scale]) -> pd.DataFrame:
    """The mean over the chunks of each song for every metric, method, source and step.

    What has no value is left out and counted by its reason, what is lost is counted (see `metrics`).

    Args:
        results: A table of rows, of one song or several, each of them complete.
        scales: How the values of each metric are read.

    Returns:
        A table with the columns metric, method, source, step, song, passes, weight, value (NaN where no chunk has one),
        chunks, silent, undefined, infinite and lost (number of chunks, of those without a value, and of those that
        count as lost), in the order of the rows.
    """
    values = results["value"]
    # Silence is a property of the reference: no metric has a value, for no method and step.
    measured = values.notna().groupby([results["song"], results["chunk"], results["source"]]).transform("any")
    metrics = results.groupby("metric", sort=False)
    counted = pd.concat([counted_values(rows, scales[str(metric)]) for metric, rows in metrics]).loc[results.index]
    left_out = measured & counted["value"].isna()
    marked = counted.assign(silent=~measured, undefined=left_out & values.isna(), infinite=left_out & values.notna())
    grouped = marked.groupby([*_CURVE, "song"], sort=False)
    return pd.DataFrame(
        {
            "passes": grouped["passes"].first(),
            "weight": grouped["weight"].first(),
            "value": grouped["value"].mean(),
            "chunks": grouped.size(),
            **{reason: grouped[reason].sum() for reason in COUNTS},
        }
    ).reset_index()


def mean_curves(songs: pd.DataFrame) -> pd.DataFrame:
    """Mean, minimum and maximum over songs for every metric, method, source and step.

    Args:
        songs: A table of `song_means`.

    Returns:
        A table with the columns metric, method, source, step, passes, weight, mean, min, max, songs (number of songs
        with a value), silent, undefined, infinite and lost (numbers of chunks), in the order of the songs' rows.
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
            **{reason: grouped[reason].sum() for reason in COUNTS},
        }
    ).reset_index()


def final_means(means: pd.DataFrame) -> dict[str, float]:
    """The means at the last step of each method, without those that have no value.

    Args:
        means: A table of `mean_curves`.

    Returns:
        The means by `<metric>/<method>/<source>`, and their mean over the sources by `<metric>/<method>/mean`.
    """
    found: dict[str, float] = {}
    for (metric, method), of_method in means.groupby(["metric", "method"], sort=False):
        last = of_method[of_method["step"] == of_method["step"].max()].dropna(subset="mean")
        by_source = dict(zip(last["source"], last["mean"].astype(float), strict=True))
        if by_source:
            found[f"{metric}/{method}/mean"] = float(last["mean"].mean())
        found |= {f"{metric}/{method}/{source}": mean for source, mean in by_source.items()}
    return found


def select_curve(means: pd.DataFrame, metric: str, method: str, source: str) -> pd.DataFrame:
    """The means of one method for one source, by step."""
    rows = (means["metric"] == metric) & (means["method"] == method) & (means["source"] == source)
    return means[rows].set_index("step").sort_index()
