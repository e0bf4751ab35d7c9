"""A run of `test` as it lies on disk: its tables and the facts beside them."""

import json
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import pandas as pd
import yaml

from mdx_progressive.evaluation.measurements import run_progress
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.results import read_metric
from mdx_progressive.evaluation.timings import read_timings
from mdx_progressive.runtime import MdxError, rename_settings

RUN_HELP = "Folder of a run of `test`, logs/<name>/version_<N>, or its results.csv."
METRIC_HELP = "Name of the metric: si_sdr (default), sdr, bsseval_sdr, and what else `test` has measured."
_TABLE = "results.csv"
_MOST = 5
"""Runs that are named where a folder holds several."""


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


def read_run(place: Path, metric: str, command: str = "report") -> Run:
    """Read a run.

    Args:
        place: Its folder, or its results.csv.
        metric: Name of the metric that is wanted.
        command: The command that it is read for: where `place` is no run, a message says how to call it.

    Raises:
        MdxError: If there is no table or no summary, one of the files is not what `test` writes, or it has no such
            metric.
    """
    path = place / _TABLE if place.is_dir() else place
    if not path.is_file():
        raise MdxError(_why_there_is_none(place, command))
    try:
        rows = read_metric(path, metric)
        facts = json.loads(path.with_name("summary.json").read_text(encoding="utf-8"))
        bounds = list(facts["bounds"])
    except FileNotFoundError as error:
        why = _not_ended(path.parent) or f"{path}: there is no summary.json beside it; did the run finish?"
        raise MdxError(why) from error
    except (KeyError, TypeError, ValueError) as error:
        raise MdxError(f"{path} is no table of results of `mdx-progressive test`: {error}") from error
    return Run(path, metric, rows, read_timings(path.with_name("timings.csv")), facts, bounds)


def settings_of(folder: Path) -> dict[str, Any]:
    """The settings of a run from its config.yaml, under the names of today; empty if it can't be read."""
    try:
        found = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return rename_settings(found, {}) if isinstance(found, dict) else {}


def _why_there_is_none(place: Path, command: str) -> str:
    """What to say of a place without a table of results."""
    folder = place.parent if place.name == _TABLE else place
    if folder.is_dir():
        if said := _not_ended(folder):
            return said
        # As `test` lays them out, logs/<name>/version_<number>.
        within = [path for depth in ("*", "*/*") for path in folder.glob(depth) if path.is_dir()]
        ended = _newest_first(path / _TABLE for path in within if (path / _TABLE).is_file())
        begun = _newest_first(path / "config.yaml" for path in within if path not in ended and run_progress(path))
        names = [path.relative_to(folder).as_posix() for path in ended]
        names += [f"{path.relative_to(folder).as_posix()} (not ended)" for path in begun]
        if names:
            more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
            said = f"{place} is no run, but holds {', '.join(names[:_MOST])}{more}"
            if not ended:
                return f"{said}; {_not_ended(begun[0])}"
            return f"{said}; for the newest: `mdx-progressive {command} {quote(str(ended[0]))}`"
        if (folder / "config.yaml").is_file():
            return f"{folder}: the run was stopped before it had measured anything; {_again(folder)} begins it again"
    return (
        f"{place} holds no {_TABLE}: name the folder of a run of `mdx-progressive test`, logs/<name>/version_<number>"
    )


def _newest_first(files: Iterable[Path]) -> list[Path]:
    """The folders of these files."""
    return [path.parent for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)]


def _not_ended(folder: Path) -> str:
    """What to say of a run that has not come to its end; nothing of others."""
    how_far = run_progress(folder)
    if how_far is None:
        return ""
    of = f" of {how_far.total}" if how_far.total else ""
    said = f"{folder}: the run has not ended, {how_far.measured}{of} chunks are measured"
    return f"{said}; {_again(folder)} goes on with it" if how_far.interrupted else f"{said} so far, it is still at work"


def _again(folder: Path) -> str:
    path = folder / "config.yaml"
    same = "the same `mdx-progressive test` command"
    return f"{same}, or `mdx-progressive test -c {quote(str(path))}`," if path.is_file() else same
