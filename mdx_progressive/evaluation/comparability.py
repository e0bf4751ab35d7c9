"""In what runs of `test` differ apart from their methods, so that their numbers can't be compared."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mdx_progressive.evaluation.run import Run, read_settings
from mdx_progressive.evaluation.statistics import last_steps

_IRRELEVANT = ("input", "block", "batch_size", "num_workers")
"""Settings of the data that don't change what is measured."""
_TOLERANCE = 0.01
"""In the unit of the metric; the same measurement on two machines differs by less."""


def run_differences(runs: Sequence[Run], against: str) -> list[str]:
    """How each run differs from the first one, in a line; empty for those that don't.

    Where nothing else differs, the values of the method `against` are compared.
    """
    first, *others = runs
    lines = [""]
    for other in others:
        differences = [*_in_extent(first, other), *_in_settings(first, other)]
        differences = differences or [*_in_values(first, other, against)]
        lines.append(f"{other.folder} is not like {first.folder}: {'; '.join(differences)}" if differences else "")
    return lines


def _in_extent(first: Run, other: Run) -> Iterator[str]:
    for column in ("song", "source"):
        before, now = (set(run.rows[column]) for run in (first, other))
        if before != now:
            yield f"{column}s in both: {len(before & now) or 'none'} (of {len(now)}, and {len(before)})"


def _in_settings(first: Run, other: Run) -> Iterator[str]:
    before, now = (read_settings(run.folder) for run in (first, other))
    for run, settings in ((first, before), (other, now)):
        if not settings:
            yield f"the settings of {run.folder} are not known, it has no config.yaml"
    hashes_before, hashes_now = (run.facts.get("weights") or {} for run in (first, other))
    hashed = bool(hashes_before and hashes_now)
    settings_differ: list[str] = []
    if before and now:
        settings_differ += _differences(_relevant(before, hashed), _relevant(now, hashed))
    yield from settings_differ
    same = sorted(hashes_before.values()) == sorted(hashes_now.values())  # whatever their files are called
    if hashed and not same and not any(part.startswith("model.separator") for part in settings_differ):
        yield from _differences(hashes_before, hashes_now, "SHA-256 of the weights")


def _relevant(settings: Mapping[str, Any], hashed: bool) -> dict[str, Any]:
    """The settings that affect the numbers of any method; without the weights where their hash is known."""
    model, data, trainer = (settings.get(section) or {} for section in ("model", "data", "trainer"))
    separator = dict(model.get("separator") or {})
    if hashed:
        separator["init_args"] = {k: v for k, v in (separator.get("init_args") or {}).items() if k != "weights"}
    return {
        "model": {"separator": separator},
        "data": {key: value for key, value in data.items() if key not in _IRRELEVANT},
        "trainer": {
            "precision": trainer.get("precision") or "32-true",
            "limit_test_batches": trainer.get("limit_test_batches"),
        },
    }


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    """Each value that differs, by its key; of two classes only their names."""
    if before == now:
        return
    if not isinstance(before, dict) or not isinstance(now, dict):
        yield f"{key} {_short(now)}, not {_short(before)}"
    elif before.get("class_path") != now.get("class_path"):
        yield f"{key} {_short(now.get('class_path'))}, not {_short(before.get('class_path'))}"
    else:
        for name in dict.fromkeys([*before, *now]):
            below = key if name == "init_args" else f"{key}.{name}" if key else name
            yield from _differences(before.get(name), now.get(name), below)


def _short(value: object) -> str:
    """A value as messages show it."""
    if isinstance(value, dict):
        return str(value.get("class_path", value)).rsplit(".", 1)[-1]
    return "null" if value is None else str(value)


def _in_values(first: Run, other: Run, against: str) -> Iterator[str]:
    """The measured values, for what no setting shows: other files behind the same names, or another method."""
    rows = [last_steps(run.rows[run.rows["method"] == against]) for run in (first, other)]
    before, now = (table.groupby(["song", "source"])["value"].mean() for table in rows)
    largest = float((now - before).abs().max())
    if largest > _TOLERANCE:
        yield f"{against} differs by up to {largest:.2g} on a song of both"
