"""The summary of a run: its methods between their bounds, as lines of a table and as summary.json."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.results import COUNTS, mean_curves, select_curve, song_means
from mdx_progressive.evaluation.statistics import paired_gains
from mdx_progressive.runtime import atomic_write

AGGREGATION = "mean over songs of the mean over each song's chunks"
"""How the means of a run are computed."""


class Comparison(NamedTuple):
    """The results of a run of `test`, for its tables and charts.

    Args:
        songs: The results as a table of `song_means`.
        gains: The gains over the baseline: for each metric a table of `paired_gains`, with a further column metric.
        means: The table of `mean_curves`.
        scales: How the values of each metric are read.
        separator: Name of the separator.
        baseline: The method that is the lower bound.
        oracle: The method that is the upper bound, if it was run.
        methods: The methods that are compared, which are not given the references.
    """

    songs: pd.DataFrame
    gains: pd.DataFrame
    means: pd.DataFrame
    scales: dict[str, Scale]
    separator: str
    baseline: str
    oracle: str | None
    methods: list[str]

    @property
    def caption(self) -> str:
        """What was measured, on which songs."""
        songs = self.songs["song"].unique()
        return f"{self.separator}, {songs[0] if len(songs) == 1 else f'mean over {len(songs)} songs'}"

    @property
    def listed(self) -> list[str]:
        """The methods that tables have lines of: those that are compared, or the baseline if there are none."""
        return self.methods or [self.baseline]


def compare_methods(
    songs: Iterable[pd.DataFrame],
    scales: dict[str, Scale],
    separator: str,
    baseline: str,
    oracle: str | None,
    methods: list[str],
) -> Comparison:
    """Compare methods by the rows of each song (see `results.Row`), taken one song at a time."""
    values, gains = [], []
    for rows in songs:
        values.append(song_means(rows, scales))
        for name, by_metric in rows.groupby("metric", sort=False):
            metric = str(name)
            song_gains = paired_gains(by_metric, metric, baseline, scales[metric])
            gains.append(song_gains.assign(metric=metric))
    results = pd.concat(values, ignore_index=True)
    measured = set(results["metric"])
    return Comparison(
        songs=results,
        gains=pd.concat(gains, ignore_index=True),
        means=mean_curves(results),
        scales={name: scale for name, scale in scales.items() if name in measured},
        separator=separator,
        baseline=baseline,
        oracle=oracle,
        methods=methods,
    )


class SummaryLine(NamedTuple):
    """The bounds, the best and the last step of one method for one source; mean over songs.

    Args:
        source: Name of the source.
        passes: Passes that the last step of the method takes.
        one_pass: The plain pass, the lower bound.
        best_step: The step with the best mean; known only in hindsight, with the references.
        best: The mean at that step.
        last_step: The last step.
        last: The mean at that step.
        oracle: The oracle at that step, the upper bound, which rises with the step; NaN if it was not run, or with
            the weights of another method.
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
    """The lines of a method, one for each source in the order of the results; sources always silent are left out."""
    means = comparison.means
    # It blends in the references with the weights of the first method.
    oracle = comparison.oracle if comparison.methods[:1] == [method] else None
    lines = []
    for source in means["source"].unique():
        curve = select_curve(means, metric, method, source)
        mean = curve["mean"].dropna()
        if mean.empty:
            continue
        upper_bound = select_curve(means, metric, oracle, source)["mean"] if oracle else mean.iloc[:0]
        steps = mean.index.tolist()
        best = int(mean.argmin() if comparison.scales[metric].lower_is_better else mean.argmax())
        lines.append(
            SummaryLine(
                source,
                passes=int(curve["passes"].iloc[-1]),
                one_pass=float(select_curve(means, metric, comparison.baseline, source)["mean"].iloc[0]),
                best_step=steps[best],
                best=float(mean.iloc[best]),
                last_step=steps[-1],
                last=float(mean.iloc[-1]),
                oracle=float(upper_bound.get(steps[-1], math.nan)),
            )
        )
    return lines


def write_summary(path: Path, means: pd.DataFrame, facts: dict[str, object]) -> None:
    """Write the facts of the run and the mean curves as JSON; the file appears when it is complete."""
    content: dict[str, object] = {
        **facts,
        "aggregation": f"{AGGREGATION}; silent, undefined and infinite left out, lost at a floor",
    }
    columns = ["step", "passes", "weight", "mean", "min", "max", "songs", *COUNTS]
    for metric, by_metric in means.groupby("metric", sort=False):
        content[str(metric)] = {
            str(method): {
                str(source): curve[columns].round(6).to_dict(orient="list")
                for source, curve in by_method.groupby("source", sort=False)
            }
            for method, by_method in by_metric.groupby("method", sort=False)
        }
    text = json.dumps(nan_to_none(content), indent=2, ensure_ascii=False)
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def nan_to_none(node: object) -> Any:
    """A tree of dicts and lists with None for NaN, which JSON does not know and tables leave empty."""
    if isinstance(node, dict):
        return {key: nan_to_none(value) for key, value in node.items()}
    if isinstance(node, list):
        return [nan_to_none(value) for value in node]
    return None if isinstance(node, float) and math.isnan(node) else node
