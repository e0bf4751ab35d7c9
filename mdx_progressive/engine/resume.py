"""Which interrupted run of `test` the same command resumes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdx_progressive.evaluation import read_settings, was_interrupted

_SAME = ("seed_everything", "model", "data")
_SAME_TRAINER = ("precision", "limit_test_batches")
_VERSION = "version_"


def unfinished_version(settings: Mapping[str, Any]) -> int | None:
    """Number of the last interrupted run with the same separator, methods, data and precision.

    Args:
        settings: The settings of the new run, as they are saved in its config.yaml.

    Returns:
        The version of its TensorBoardLogger; None if there is no such run, or another logger is used.
    """
    logger = settings["trainer"]["logger"]
    if not isinstance(logger, dict) or not str(logger.get("class_path")).endswith(".TensorBoardLogger"):
        return None
    init = logger["init_args"]
    if init.get("version") is not None:
        return None
    runs = Path(init["save_dir"]) / (init.get("name") or "")
    numbers = [path.name.removeprefix(_VERSION) for path in runs.glob(f"{_VERSION}*")]
    for number in sorted((int(number) for number in numbers if number.isdecimal()), reverse=True):
        folder = runs / f"{_VERSION}{number}"
        if was_interrupted(folder) and decisive_settings(read_settings(folder)) == decisive_settings(settings):
            return number
    return None


def decisive_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide on the results; the number of processes, for instance, does not.

    Args:
        settings: The settings of a run, as they are saved in its config.yaml.
    """
    trainer = settings.get("trainer") or {}
    return {key: settings.get(key) for key in _SAME} | {key: trainer.get(key) for key in _SAME_TRAINER}
