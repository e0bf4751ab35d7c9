"""Which settings decide on results and estimates, and which interrupted run of `test` the same command resumes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mdx_progressive.evaluation import read_settings, was_begun, was_interrupted
from mdx_progressive.runtime import set_aside

_SAME = ("seed_everything", "model", "data")
_SAME_TRAINER = ("precision", "limit_test_batches")
_SEPARATE = {"model": ("separator", "method"), "data": ("mixture", "block", "normalisation")}
_NO_MATTER = ("batch_size",)
_VERSION = "version_"


def unfinished_version(settings: Mapping[str, Any]) -> int | None:
    """Number of the last interrupted run with the same separator, methods, data and precision.

    The folder of one that was killed before it had saved its settings is taken too: there is nothing in it.

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
        interrupted, begun = was_interrupted(folder), was_begun(folder)
        if not interrupted and not begun:
            continue
        of_run = read_settings(folder)
        if not of_run and (folder / "config.yaml").exists():
            set_aside(folder / "config.yaml", "it holds no settings of a run")
        if _decisive_settings(of_run) == _decisive_settings(settings) or (begun and not of_run):
            return number
    return None


def _decisive_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide on the results; the number of processes, for instance, does not.

    Args:
        settings: The settings of a run, as they are saved in its config.yaml.
    """
    trainer = settings.get("trainer") or {}
    return {key: settings.get(key) for key in _SAME} | {key: trainer.get(key) for key in _SAME_TRAINER}


def separation_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that decide on the estimates of a song; which songs and targets there are does not.

    Args:
        settings: The settings of a run of `predict`, as they are saved in its config.yaml.
    """
    found = {key: {name: settings[key][name] for name in names} for key, names in _SEPARATE.items()}
    separator = found["model"]["separator"]
    arguments = separator.get("init_args") or {}
    kept = {name: value for name, value in arguments.items() if name not in _NO_MATTER}
    found["model"]["separator"] = {**separator, "init_args": kept}
    return {**found, "seed": settings.get("seed_everything"), "precision": settings["trainer"].get("precision")}
