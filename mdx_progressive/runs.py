"""A run of `test` as it lies on disk: its tables and the facts beside them."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mdx_progressive.errors import MdxError
from mdx_progressive.results import read_metric
from mdx_progressive.scales import Scale
from mdx_progressive.timings import read_timings


class Run(NamedTuple):
    """What a run has left.

    Args:
        path: Its table, results.csv.
        metric: Name of the metric that is wanted of it.
        rows: The rows of that table (see `results.Row`) that are of the metric.
        timings: Those of timings.csv (see `timings.Timing`); none of a run that has no such file.
        facts: What summary.json says of the separator and the methods.
        bounds: Names of the methods that are told the true sources.
    """

    path: Path
    metric: str
    rows: pd.DataFrame
    timings: pd.DataFrame
    facts: dict[str, Any]
    bounds: list[str]

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.path.parent

    @property
    def scale(self) -> Scale:
        """What the values of the metric stand for; of runs that don't say it, decibels of which more is better."""
        known = self.facts.get("metrics", {}).get(self.metric)
        return Scale(**known) if known else Scale(self.metric)


def read_run(place: Path, metric: str) -> Run:
    """Read a run.

    Args:
        place: Its folder, or its results.csv.
        metric: Name of the metric that is wanted.

    Raises:
        MdxError: If there is no table or no summary, one of the files is not what `test` writes, or it has no such
            metric.
    """
    path = place / "results.csv" if place.is_dir() else place
    if not path.is_file():
        raise MdxError(f"{place} holds no results.csv: name the folder of a run of `mdx-progressive test`")
    try:
        rows = read_metric(path, metric)
        facts = json.loads(path.with_name("summary.json").read_text(encoding="utf-8"))
        bounds = list(facts["bounds"])
    except FileNotFoundError as error:
        raise MdxError(f"{path}: there is no summary.json beside it; did the run finish?") from error
    except (KeyError, TypeError, ValueError) as error:
        raise MdxError(f"{path} is no table of results of `mdx-progressive test`: {error}") from error
    return Run(path, metric, rows, read_timings(path.with_name("timings.csv")), facts, bounds)
