"""Settings of version 0.1, whose classes and keys had other names, under the names of today."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_PACKAGE = "mdx_progressive"
_QUOTED = re.compile(r"(?:['\"]|string: )([\w.]+)")
CLASSES = {
    "View": "Augmentation",
    "OneView": "NoAugmentation",
    "Rotation": "AugmentationCycle",
    "Truth": "OracleScore",
    "Miss": "MissedTarget",
    "Leak": "Interference",
    "Rehearsal": "SelfRemix",
    "Failures": "FailureCollector",
    "TensorBoardCurves": "TensorBoardResults",
    "TensorBoardFacts": "TensorBoardResults",
}
"""Former names of classes, without their modules: all of them are found in the package itself now."""
KEYS: dict[str, Mapping[str, str]] = {
    "Progressive": {"views": "augmentations", "each_step": "step_corrections", "retune": "pitch_correct"},
    "Augmentation": {"width": "side_gain", "slower": "time_stretch"},
    "AugmentationCycle": {"widths": "side_gains", "levels": "gains", "slower": "time_stretch"},
    "Agreement": {"view": "augmentation"},
    "Repetition": {"disagreement": "max_variance"},
}
"""Former names of the settings of a class."""


def rename_settings(settings: Any, renamed: dict[str, str]) -> Any:
    """The settings with today's class paths and keys.

    Args:
        settings: Values as YAML holds them; not changed.
        renamed: Filled with each former name that was found, and its name of today.

    Example:
        >>> renamed = {}
        >>> former = {"class_path": "mdx_progressive.methods.Progressive", "init_args": {"views": None}}
        >>> rename_settings(former, renamed)
        {'class_path': 'mdx_progressive.Progressive', 'init_args': {'augmentations': None}}
        >>> renamed
        {'views': 'augmentations'}
    """
    if isinstance(settings, list):
        return [rename_settings(value, renamed) for value in settings]
    if not isinstance(settings, dict):
        return settings
    result = {key: rename_settings(value, renamed) for key, value in settings.items()}
    path = result.get("class_path")
    if not isinstance(path, str) or not (path in CLASSES or path.startswith(f"{_PACKAGE}.")):
        return result
    name = path.rpartition(".")[2]
    today = CLASSES.get(name, name)
    if today != name:
        renamed[name] = today
    result["class_path"] = f"{_PACKAGE}.{today}"
    if isinstance(result.get("init_args"), dict):
        keys = KEYS.get(today, {})
        renamed.update({key: keys[key] for key in result["init_args"] if key in keys})
        result["init_args"] = {keys.get(key, key): value for key, value in result["init_args"].items()}
    return result


def former_names(text: str) -> Iterator[tuple[str, str]]:
    """Former names of keys and classes that a message quotes, with those of today.

    Example:
        >>> list(former_names("Option 'each_step' is not accepted"))
        [('each_step', 'step_corrections')]
        >>> list(former_names("Expected a dot import path string: mdx_progressive.views.Rotation"))
        [('Rotation', 'AugmentationCycle')]
    """
    quoted = {name.rpartition(".")[2] for name in _QUOTED.findall(text)}
    names = {former: today for of_class in (CLASSES, *KEYS.values()) for former, today in of_class.items()}
    yield from ((former, today) for former, today in names.items() if former in quoted)
