"""A finished run of `test` on disk: its tables, its summary and its settings."""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from mdx_progressive.evaluation.measurements import FILES, run_progress
from mdx_progressive.evaluation.metrics.scale import Scale
from mdx_progressive.evaluation.results import read_metric
from mdx_progressive.evaluation.timings import read_timings
from mdx_progressive.runtime import (
    MdxError,
    abridged,
    check_type,
    escape_unprintable,
    load_yaml,
    read_json,
    rename_settings,
)

RUN_HELP = "Folder of a run of `test`, logs/<name>/version_<N>, or its results.csv."
METRIC_HELP = "Name of the metric: si_sdr (default), sdr, bsseval_sdr, and what else `test` has measured."
_TABLE = "results.csv"
_FACTS: dict[str, Any] = {
    "methods": list[str] | None,
    "metrics": dict[str, dict[str, Any]] | None,
    "separator": str | None,
    "weights": dict[str, str] | None,
    "licence_of_weights": str | None,
    "trained_on_musdb18_test": bool | None,
    "targets": list[str] | None,
    "failed": dict[str, str] | None,
    "versions": dict[str, str] | None,
}
"""What summary.json says for others to read; older runs don't have all of it."""
_SCALE = tuple(Scale.__annotations__.values())
_MOST = 5
"""Runs that a message lists of a folder that holds several."""


class Run(NamedTuple):
    """A run, read for one metric.

    Args:
        path: Its table, results.csv.
        metric: Name of the metric.
        rows: The rows of that table (see `results.Row`) of the metric.
        timings: The rows of timings.csv (see `timings.Timing`); empty for a run without that file.
        facts: The content of summary.json.
        reference_methods: Names of the methods that are given the references.
    """

    path: Path
    metric: str
    rows: pd.DataFrame
    timings: pd.DataFrame
    facts: dict[str, Any]
    reference_methods: list[str]

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return self.path.parent

    @property
    def scale(self) -> Scale:
        """How the values of the metric are read; in dB, higher is better, for runs that don't record it."""
        fields = self.facts.get("metrics", {}).get(self.metric)
        scale = Scale(**fields) if fields else Scale(self.metric)
        return scale._replace(label=escape_unprintable(scale.label), unit=escape_unprintable(scale.unit))


def read_run(location: Path, metric: str, command: str = "report") -> Run:
    """Read a run.

    Args:
        location: Its folder, or its results.csv.
        metric: Name of the metric.
        command: The command that reads it, for the hint in the error message.

    Raises:
        MdxError: If there is no table or no summary, one of the files is not what `test` writes, or the table has no
            such metric.
    """
    path = location / _TABLE if location.is_dir() else location
    if not path.is_file():
        raise MdxError(_missing_table(location, command))
    try:
        with np.errstate(invalid="ignore"):  # What can't be a whole number is told below.
            rows = read_metric(path, metric)
        facts = _facts(path.with_name("summary.json"), metric)
    except FileNotFoundError as error:
        reason = _unfinished(path.parent) or f"{path}: there is no summary.json beside it; did the run finish?"
        raise MdxError(reason) from error
    except MdxError:
        raise
    except (OverflowError, TypeError, ValueError) as error:
        reason = abridged(str(error).splitlines()[0])
        raise MdxError(f"{path} is no table of results of `mdx-progressive test`: {reason}; measure again") from error
    return Run(path, metric, rows, read_timings(path.with_name("timings.csv")), facts, facts["bounds"])


def _facts(path: Path, metric: str) -> dict[str, Any]:
    """The facts of a run, of which those that are read later are of their types.

    Raises:
        MdxError: If the file is no summary.
    """
    try:
        facts: dict[str, Any] = check_type(read_json(path), dict[str, Any])
        for key, kind in _FACTS.items():
            check_type(facts.get(key), kind)
        check_type(facts["bounds"], list[str])
        for value, kind in zip(Scale(**(facts.get("metrics") or {}).get(metric, {"label": ""})), _SCALE, strict=True):
            check_type(value, kind)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else abridged(str(error))
        raise MdxError(f"{path} is no summary of `mdx-progressive test`: {reason}; measure again") from error
    return facts


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of a run from its config.yaml, under the names of today; empty if it holds none."""
    try:
        settings: Any = load_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        _check_sections(settings)
        return dict(rename_settings(settings, {}))
    except (AttributeError, OSError, RecursionError, TypeError, ValueError, yaml.YAMLError):
        return {}


def _check_sections(settings: Any) -> None:
    """Raise TypeError if the settings have no sections, or a separator that is no class with arguments."""
    section = dict[str, Any] | None
    for key in ("model", "data", "trainer"):
        check_type(check_type(settings, dict[str, Any]).get(key), section)
    separator = check_type((settings.get("model") or {}).get("separator"), section) or {}
    check_type(separator.get("class_path"), str | None)
    check_type(separator.get("init_args"), section)


def lies_in_run(path: Path, below: Set[Path]) -> bool:
    """Whether a file lies in the folder of a run of `test`, at its end or not, that is itself below a folder of these.

    Args:
        path: The file; absolute, as are the folders.
        below: The folders.
    """
    folders = (folder for folder in path.parents if not below.isdisjoint(folder.parents))
    with_settings = (folder for folder in folders if (folder / "config.yaml").is_file())
    return any((folder / _TABLE).is_file() or any(folder.glob(FILES)) for folder in with_settings)


def separator_label(settings: Mapping[str, Any], family: str) -> str:
    """The name of a separator as `mdx-progressive separators` lists it, or that of its class where it has none.

    Files can be called anything, so weights that were given as a file or folder are said to be that, not named.

    Args:
        settings: The settings of the run; may be empty.
        family: Name of the separator's class.

    Example:
        >>> separator = {"name": "htdemucs", "weights": "somewhere/file.th"}
        >>> separator_label({"model": {"separator": {"init_args": separator}}}, "DemucsSeparator")
        'htdemucs (local weights)'
        >>> separator_label({}, "DemucsSeparator")
        'DemucsSeparator'
    """
    try:
        given = settings["model"]["separator"]["init_args"]
        name, local = given.get("name") or family, given.get("weights") is not None
    except (AttributeError, KeyError, TypeError):
        return family
    return f"{name} (local weights)" if local else str(name)


def _missing_table(location: Path, command: str) -> str:
    """The error message for a location without a table of results: what is there instead, and what to do."""
    folder = location.parent if location.name == _TABLE else location
    if folder.is_dir():
        if message := _unfinished(folder):
            return message
        # As `test` lays them out, logs/<name>/version_<number>.
        subfolders = [path for depth in ("*", "*/*") for path in folder.glob(depth) if path.is_dir()]
        finished = _newest_first(path / _TABLE for path in subfolders if (path / _TABLE).is_file())
        others = [path for path in subfolders if path not in finished and run_progress(path)]
        unfinished = _newest_first(path / "config.yaml" for path in others)
        names = [path.relative_to(folder).as_posix() for path in finished]
        names += [f"{path.relative_to(folder).as_posix()} (not ended)" for path in unfinished]
        if names:
            more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
            message = f"{location} is no run, but holds {', '.join(names[:_MOST])}{more}; "
            if not finished:
                return message + _unfinished(unfinished[0])
            return message + f"for the newest: `mdx-progressive {command} {quote(str(finished[0]))}`"
        if (folder / "config.yaml").is_file():
            return f"{folder}: the run was stopped before it had measured anything; {_same_command(folder)} restarts it"
    return f"{location} holds no {_TABLE}: give the folder of a run of `mdx-progressive test`, logs/<name>/version_<N>"


def _newest_first(files: Iterable[Path]) -> list[Path]:
    """The folders of these files."""
    return [path.parent for path in sorted(files, key=lambda path: path.stat().st_mtime, reverse=True)]


def _unfinished(folder: Path) -> str:
    """The message for a run that has not finished; empty for others."""
    progress = run_progress(folder)
    if progress is None:
        return ""
    total = f" of {progress.total}" if progress.total else ""
    message = f"{folder}: the run has not ended, {progress.measured}{total} chunks are measured"
    return (
        f"{message}; {_same_command(folder)} resumes it"
        if progress.interrupted
        else f"{message} so far, it is still running"
    )


def _same_command(folder: Path) -> str:
    path = folder / "config.yaml"
    same = "the same `mdx-progressive test` command"
    return f"{same}, or `mdx-progressive test -c {quote(str(path))}`," if path.is_file() else same
