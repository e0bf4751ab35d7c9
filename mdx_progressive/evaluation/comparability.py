"""In what runs of `test` differ beside their methods, so that their numbers can't be set against each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mdx_progressive.evaluation.run import Run, settings_of

_NO_SAY = ("input", "block", "batch_size", "num_workers")
"""Settings of the data that don't change what is measured."""
_CLOSE = 0.01
"""In the unit of the metric; the same measurement on two machines differs by less."""


def run_differences(runs: Sequence[Run], against: str) -> list[str]:
    """In what each run differs from the first one: what was measured, or with what; empty for those that don't.

    Args:
        runs: The runs.
        against: Name of the method that others are compared with.
    """
    first, *others = runs
    lines = [""]
    for other in others:
        parts = [*_in_extent(first, other), *_in_settings(first, other)] or [*_in_values(first, other, against)]
        lines.append(f"{other.folder} is not like {first.folder}: {'; '.join(parts)}" if parts else "")
    return lines


def _in_extent(first: Run, other: Run) -> Iterator[str]:
    for column in ("song", "source"):
        before, now = (set(run.rows[column]) for run in (first, other))
        if before != now:
            yield f"{column}s in both: {len(before & now) or 'none'} (of {len(now)}, and {len(before)})"


def _in_settings(first: Run, other: Run) -> Iterator[str]:
    before, now = (settings_of(run.folder) for run in (first, other))
    for run, settings in ((first, before), (other, now)):
        if not settings:
            yield f"the settings of {run.folder} are not known, it has no config.yaml"
    hashes_before, hashes_now = (run.facts.get("weights") or {} for run in (first, other))
    hashed = bool(hashes_before and hashes_now)
    named: list[str] = []
    if before and now:
        named += _differing(_of_measurement(before, hashed), _of_measurement(now, hashed))
    yield from named
    same = sorted(hashes_before.values()) == sorted(hashes_now.values())  # whatever their files are called
    if hashed and not same and not any(part.startswith("model.separator") for part in named):
        yield from _differing(hashes_before, hashes_now, "SHA-256 of the weights")


def _of_measurement(settings: Mapping[str, Any], hashed: bool) -> dict[str, Any]:
    """What decides on the numbers of a run, beside its methods; without its weights where their hash is known."""
    model, data, trainer = (settings.get(section) or {} for section in ("model", "data", "trainer"))
    separator = dict(model.get("separator") or {})
    if hashed:
        separator["init_args"] = {k: v for k, v in (separator.get("init_args") or {}).items() if k != "weights"}
    return {
        "model": {"separator": separator},
        "data": {key: value for key, value in data.items() if key not in _NO_SAY},
        "trainer": {
            "precision": trainer.get("precision") or "32-true",
            "limit_test_batches": trainer.get("limit_test_batches"),
        },
    }


def _differing(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Each value that differs, by its key; of two classes their names alone."""
    if before == now:
        return
    if not isinstance(before, dict) or not isinstance(now, dict):
        yield f"{key} {_short(now)}, not {_short(before)}"
    elif before.get("class_path") != now.get("class_path"):
        yield f"{key} {_short(now.get('class_path'))}, not {_short(before.get('class_path'))}"
    else:
        for name in dict.fromkeys([*before, *now]):
            below = key if name == "init_args" else f"{key}.{name}" if key else name
            yield from _differing(before.get(name), now.get(name), below)


def _short(value: object) -> str:
    """A value as messages show it."""
    if isinstance(value, dict):
        return str(value.get("class_path", value)).rsplit(".", 1)[-1]
    return "null" if value is None else str(value)


def _in_values(first: Run, other: Run, against: str) -> Iterator[str]:
    """What is left where all that is known is the same, and yet other files were measured, or another method."""
    before, now = (_values(run.rows, against) for run in (first, other))
    furthest = float((now - before).abs().max())
    if furthest > _CLOSE:
        yield f"{against} differs by up to {furthest:.2g} on a song of both"


def _values(rows: pd.DataFrame, method: str) -> "pd.Series[float]":
    """The values of a method at its last step by song and source, the mean over chunks."""
    chosen = rows[rows["method"] == method]
    last = chosen[chosen["step"] == chosen["step"].max()]
    values: pd.Series[float] = last.groupby(["song", "source"])["value"].mean()
    return values
