"""Gains of methods over another one, paired song by song, with the statistics that show whether they are real.

The value of a song is the mean over its chunks. Differences are taken within a song and source, so that the difficulty
of the song cancels. Songs are the independent unit: intervals and tests are over songs, each the mean over its sources.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, wilcoxon

from mdx_progressive.evaluation.results import unknown
from mdx_progressive.runtime import MdxError

CHOSEN = "leave one song out"
"""The name under which the gain of `leave_one_song_out` is listed."""
_RESAMPLES = 10_000


class Gain(NamedTuple):
    """Gain of a method over another one, in the unit of the metric.

    Args:
        method: Name of the method.
        step: Its step.
        passes: Passes for an estimate of a source, mean over the songs.
        songs: Number of songs.
        mean: Mean over songs, each of which is the mean over its sources that are not silent.
        low: Lower end of the 95 % interval of that mean (percentile bootstrap); NaN for less than two songs.
        high: Upper end.
        median: Median over songs and sources.
        p: Two-sided Wilcoxon signed-rank test over songs; NaN for less than two songs.
        improved: Share of the songs and sources that improve.
        worst: The lowest gain of a song and source.
        worst_at: That song and source.
        by_source: Mean over songs for each source.
    """

    method: str
    step: int
    passes: float
    songs: int
    mean: float
    low: float
    high: float
    median: float
    p: float
    improved: float
    worst: float
    worst_at: str
    by_source: dict[str, float]


def paired_gains(results: pd.DataFrame, metric: str, against: str, lower_is_better: bool = False) -> pd.DataFrame:
    """The gain of all other methods over one method, for each song and source at each step.

    Args:
        results: A table of rows (see `results.Row`).
        metric: Name of the metric.
        against: Name of the method to compare with, at its last step.
        lower_is_better: Whether a lower value of the metric is better; a gain is then a decrease.

    Returns:
        A table with the columns method, step, song, source, passes, gain: the mean over the chunks that have a finite
        value by both methods. Silent sources are left out.

    Raises:
        MdxError: If there is no such metric or method.
    """
    for column, name in (("metric", metric), ("method", against)):
        if name not in (names := list(results[column].unique())):
            raise MdxError(unknown(column, name, names))
    rows = results[results["metric"] == metric]
    rows = rows.assign(value=rows["value"].where(np.isfinite(rows["value"])))
    baseline = last_steps(rows[rows["method"] == against])
    place = ["song", "chunk", "source"]
    pairs = rows[rows["method"] != against].join(baseline.set_index(place)["value"].rename("baseline"), on=place)
    change = pairs["value"] - pairs["baseline"]
    pairs["gain"] = -change if lower_is_better else change
    keys = ["method", "step", "song", "source"]
    songs = pairs.groupby(keys, sort=False)[["passes", "gain"]].mean().reset_index()
    return songs.dropna(subset="gain").reset_index(drop=True)


def last_steps(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every method's last step."""
    return table[table["step"] == table.groupby("method")["step"].transform("max")]


def side_by_side(gains: pd.DataFrame, method: str) -> pd.DataFrame:
    """The gains of the methods side by side for each song and source, in ascending order of one method's gain.

    Args:
        gains: The last steps of a table of `paired_gains`.
        method: The method that gives the order.

    Returns:
        A table with the columns song, source and one for each method; NaN where a method has no gain.
    """
    methods = list(dict.fromkeys(gains["method"]))
    wide = gains.pivot_table(values="gain", index=["song", "source"], columns="method", sort=False)[methods]
    return wide.sort_values(method, kind="stable").reset_index()


def summarise(gains: pd.DataFrame) -> list[Gain]:
    """One `Gain` for each method and step, in the order of a table of `paired_gains`."""
    groups = gains.groupby(["method", "step"], sort=False)
    return [_gain(str(group["method"].iloc[0]), int(group["step"].iloc[0]), group) for _, group in groups]


def leave_one_song_out(gains: pd.DataFrame) -> Gain | None:
    """The gain of taking, for each song, the method that is best on all others.

    Args:
        gains: The last steps of a table of `paired_gains`, without the methods that are given the references.

    Returns:
        The gain on the songs that were left out; None for less than two songs or methods.
    """
    by_song = gains.groupby(["song", "method"], sort=False)["gain"].mean().unstack()
    if len(by_song) < 2 or len(by_song.columns) < 2:
        return None
    best = {song: by_song.drop(index=song).mean().idxmax() for song in by_song.index}
    chosen = gains[gains["method"] == gains["song"].map(best)]
    return _gain(CHOSEN, int(chosen["step"].max()), chosen)


def _gain(method: str, step: int, group: pd.DataFrame) -> Gain:
    gains = group["gain"]
    songs: list[float] = group.groupby("song", sort=False)["gain"].mean().tolist()
    low, high, p = _interval_and_p(songs) if len(songs) > 1 else (np.nan,) * 3
    worst = int(gains.argmin())
    by_source = group.groupby("source", sort=False)["gain"].mean()
    return Gain(
        method=method,
        step=step,
        passes=float(group["passes"].mean()),
        songs=len(songs),
        mean=float(np.mean(songs)),
        low=low,
        high=high,
        median=float(gains.median()),
        p=p,
        improved=float((gains > 0).mean()),
        worst=float(gains.iloc[worst]),
        worst_at=f"{group['song'].iloc[worst]}, {group['source'].iloc[worst]}",
        by_source={str(source): float(mean) for source, mean in by_source.items()},
    )


def _interval_and_p(songs: Sequence[float]) -> tuple[float, float, float]:
    rng = np.random.default_rng(0)
    interval = bootstrap((songs,), np.mean, n_resamples=_RESAMPLES, method="percentile", rng=rng).confidence_interval
    p = float(wilcoxon(songs).pvalue) if np.any(songs) else 1.0
    return float(interval.low), float(interval.high), p
