"""The user's own code: the modules that the command line, `-c` and `--allow` name, which files of others may not."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from mdx_progressive.presets import preset_settings
from mdx_progressive.runtime import MdxError, is_class_path, load_yaml

ALLOW = "--allow"
"""The option that names modules whose classes any file of settings may name."""


def take_allowed(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without `--allow`, and the modules that it names.

    Raises:
        MdxError: If it names none.

    Example:
        >>> take_allowed(["song.mp3", "--allow", "my_package,other", "-s", "mine.yaml"])
        (['song.mp3', '-s', 'mine.yaml'], ['my_package', 'other'])
    """
    rest: list[str] = []
    modules: list[str] = []
    left = list(args)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name != ALLOW:
            rest.append(name + equals + value)
            continue
        named = value if equals else left.pop(0) if left else ""
        modules += named.split(",")
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise MdxError(f"{ALLOW} takes the name of a module, as in {ALLOW} my_package, not {module!r}")
    return rest, modules


def named_modules(args: Sequence[str], configs: Iterable[str]) -> list[str]:
    """The packages of the classes that the user names.

    A class on the command line or in a configuration of `-c` is the user's own choice. Files that these name, as that
    of a method or a separator, may come from others and are not looked into.

    Args:
        args: Options of a command with their values.
        configs: The files of `-c`.
    """
    names = list(_named([_value(arg) for arg in args], Path()))
    for config in configs:
        names += _named(preset_settings(Path(config)), Path(config).parent)
    # What the standard library has is no part of a run, but some of it are commands.
    return sorted({name.partition(".")[0] for name in names} - sys.stdlib_module_names)


def _value(arg: str) -> str:
    return arg.partition("=")[2] if arg.startswith("-") else arg


def _named(settings: Any, folder: Path, key: str = "") -> Iterator[str]:
    """The names of classes in settings, and of whatever stands where a class belongs."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            yield from _named(value, folder, str(name))
    elif isinstance(settings, list):
        for value in settings:
            yield from _named(value, folder)
    elif isinstance(settings, str) and settings[:1] in ("[", "{"):
        yield from _named(_parsed(settings), folder)
    elif isinstance(settings, str) and is_class_path(settings) and not os.path.lexists(folder / settings):
        # Functions may stand under this key too; elsewhere a name in small letters may be anything.
        yield from [settings] if key == "class_path" or settings.rpartition(".")[2][:1].isupper() else []


def _parsed(text: str) -> Any:
    try:
        return load_yaml(text)
    except yaml.YAMLError:  # The parser tells it.
        return None
