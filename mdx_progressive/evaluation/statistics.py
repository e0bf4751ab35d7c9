"""Gains of methods over another one, paired song by song, with the statistics that show whether they are real.

The value of a song is the mean over its chunks. Differences are taken within a song and source, so that the difficulty
of the song cancels. Songs are the independent unit: intervals and tests are over songs, each the mean over its sources.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import sem, wilcoxon
from scipy.stats import t as student_t

from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.results import counted_values, unknown
from mdx_progressive.runtime import MdxError

CHOSEN = "leave one song out"
"""The name under which the gain of `leave_one_song_out` is listed."""
_LEVEL = 0.95
FEWEST_SONGS = 3
"""Songs that an interval needs: of two, it would be wider than anything that is measured."""


class Gain(NamedTuple):
    """Gain of a method over another one, in the unit of the metric.

    Args:
        method: Name of the method.
        step: Its step.
        passes: Network passes over the song for all targets, mean over the songs.
        songs: Number of songs.
        mean: Mean over songs, each of which is the mean over its sources that are not silent.
        low: Lower end of the 95 % interval of that mean, by Student's t; NaN for less than `FEWEST_SONGS`.
        high: Upper end.
        median: Median over songs and sources.
        p: Two-sided Wilcoxon signed-rank test over songs; NaN for less than three songs.
        improved: Share of the songs and sources that improve.
        worst: The lowest gain of a song and source.
        worst_at: That song and source.
        lost: How many chunks of a source are lost (see `metrics`), which the mean counts at a floor.
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
    lost: int
    by_source: dict[str, float]


def paired_gains(results: pd.DataFrame, metric: str, against: str, scale: Scale) -> pd.DataFrame:
    """The gain of all other methods over one method, for each song and source at each step.

    Args:
        results: A table of rows (see `results.Row`).
        metric: Name of the metric.
        against: Name of the method to compare with, at its last step.
        scale: How the values of the metric are read; where a lower one is better, a gain is a decrease.

    Returns:
        A table with the columns method, step, song, source, passes, gain, lost: the mean over the chunks, and how many
        of them the method has lost, which count at the floor of the scale. What is silent, or infinitely good by one of
        the two methods, is left out.

    Raises:
        MdxError: If there is no such metric or method.
    """
    for column, name in (("metric", metric), ("method", against)):
        if name not in (names := list(results[column].unique())):
            raise MdxError(unknown(column, name, names))
    rows = counted_values(results[results["metric"] == metric], scale)
    baseline = last_steps(rows[rows["method"] == against])
    place = ["song", "chunk", "source"]
    pairs = rows[rows["method"] != against].join(baseline.set_index(place)["value"].rename("baseline"), on=place)
    change = pairs["value"] - pairs["baseline"]
    pairs["gain"] = -change if scale.lower_is_better else change
    keys = ["method", "step", "song", "source"]
    songs = pairs.groupby(keys, sort=False).agg({"passes": "mean", "gain": "mean", "lost": "sum"}).reset_index()
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
    low, high, p = _interval_and_p(songs) if len(songs) >= FEWEST_SONGS else (np.nan,) * 3
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
        lost=int(group["lost"].sum()),
        by_source={str(source): float(mean) for source, mean in by_source.items()},
    )


def _interval_and_p(songs: Sequence[float]) -> tuple[float, float, float]:
    """Of a percentile bootstrap, 75 % of the intervals of three songs hold the mean, and 90 % of those of ten."""
    mean, error = float(np.mean(songs)), float(sem(songs))
    reach = float(student_t.ppf(0.5 + _LEVEL / 2, df=len(songs) - 1)) * error
    return mean - reach, mean + reach, float(wilcoxon(songs).pvalue) if np.any(songs) else 1.0
