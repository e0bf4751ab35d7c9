"""Gains of methods over another one, paired song by song, with the statistics that tell whether they are real.

The value of a song is the mean over its chunks. Differences are taken within a song and source, so that it does not
matter how hard the song is. A song is the unit that is independent: intervals and tests are over songs, each of which
is the mean over its sources.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, wilcoxon

from mdx_progressive.runtime import MdxError

CHOSEN = "leave one song out"
_RESAMPLES = 10_000


class Gain(NamedTuple):
    """What a method gains over another one, in the unit of the metric.

    Args:
        method: Name of the method.
        step: Its step.
        passes: Passes that an estimate of a source takes, mean over the songs.
        songs: How many songs there are.
        mean: Mean over songs, each of which is the mean over its sources that are not silent.
        low: Lower end of the 95 % interval of that mean (percentile bootstrap); NaN for less than two songs.
        high: Upper end.
        median: Median over songs and sources.
        p: Two-sided Wilcoxon signed-rank test over songs; NaN for less than two songs.
        improved: Part of the songs and sources that get better.
        worst: The least of all differences.
        worst_at: Its song and source.
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
    """How much better than a method all others are, for each song and source at each step.

    Args:
        results: A table of rows (see `results.Row`).
        metric: Name of the metric.
        against: Name of the method to compare with, at its last step.
        lower_is_better: Whether it is better to have less of the metric; a gain is then how much less there is.

    Returns:
        A table with the columns method, step, song, source, passes, gain: the mean over the chunks that have a finite
        value by both methods. Silent sources are left out.

    Raises:
        MdxError: If there is no such metric or method.
    """
    for column, wanted in (("metric", metric), ("method", against)):
        if wanted not in (there := results[column].unique()):
            raise MdxError(f"there is no {column} {wanted} in the results, only {', '.join(there)}")
    chosen = results[results["metric"] == metric]
    chosen = chosen.assign(value=chosen["value"].where(np.isfinite(chosen["value"])))
    baseline = chosen[chosen["method"] == against]
    baseline = baseline[baseline["step"] == baseline["step"].max()]
    place = ["song", "chunk", "source"]
    joined = chosen[chosen["method"] != against].join(baseline.set_index(place)["value"].rename("baseline"), on=place)
    change = joined["value"] - joined["baseline"]
    joined["gain"] = -change if lower_is_better else change
    keys = ["method", "step", "song", "source"]
    songs = joined.groupby(keys, sort=False)[["passes", "gain"]].mean().reset_index()
    return songs.dropna(subset="gain").reset_index(drop=True)


def last_steps(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every method's last step."""
    return table[table["step"] == table.groupby("method")["step"].transform("max")]


def side_by_side(table: pd.DataFrame, method: str) -> pd.DataFrame:
    """The methods beside each other for each song and source, those first at which one of them gains least.

    Args:
        table: The last steps of what `paired_gains` made.
        method: That one.

    Returns:
        A table with the columns song, source and one for each method; NaN where a method has no gain.
    """
    methods = list(dict.fromkeys(table["method"]))
    wide = table.pivot_table(values="gain", index=["song", "source"], columns="method", sort=False)[methods]
    return wide.sort_values(method, kind="stable").reset_index()


def summarise(table: pd.DataFrame) -> list[Gain]:
    """One line for each method and step, in the order of the table.

    Args:
        table: What `paired_gains` made.
    """
    groups = table.groupby(["method", "step"], sort=False)
    return [_gain(str(group["method"].iloc[0]), int(group["step"].iloc[0]), group) for _, group in groups]


def leave_one_song_out(table: pd.DataFrame) -> Gain | None:
    """What it would gain to take, on each song, the method that is best on all others: leave one song out.

    Args:
        table: The last steps of what `paired_gains` made, without the methods that are told the truth.

    Returns:
        The gain on the songs that were left out; None for less than two songs or methods.
    """
    by_song = table.groupby(["song", "method"], sort=False)["gain"].mean().unstack()
    if len(by_song) < 2 or len(by_song.columns) < 2:
        return None
    best = {song: by_song.drop(index=song).mean().idxmax() for song in by_song.index}
    taken = table[table["method"] == table["song"].map(best)]
    return _gain(CHOSEN, int(taken["step"].max()), taken)


def _gain(method: str, step: int, group: pd.DataFrame) -> Gain:
    gains = group["gain"]
    songs: list[float] = group.groupby("song", sort=False)["gain"].mean().tolist()
    low, high = _interval(songs)
    worst = int(gains.argmin())
    of_sources = group.groupby("source", sort=False)["gain"].mean()
    return Gain(
        method=method,
        step=step,
        passes=float(group["passes"].mean()),
        songs=len(songs),
        mean=float(np.mean(songs)),
        low=low,
        high=high,
        median=float(gains.median()),
        p=_p(songs),
        improved=float((gains > 0).mean()),
        worst=float(gains.iloc[worst]),
        worst_at=f"{group['song'].iloc[worst]}, {group['source'].iloc[worst]}",
        by_source={str(source): float(mean) for source, mean in of_sources.items()},
    )


def _interval(songs: Sequence[float]) -> tuple[float, float]:
    if len(songs) < 2:
        return np.nan, np.nan
    found = bootstrap((songs,), np.mean, n_resamples=_RESAMPLES, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _p(songs: Sequence[float]) -> float:
    if len(songs) < 2:
        return np.nan
    return 1.0 if not np.any(songs) else float(wilcoxon(songs).pvalue)
