"""Separators and methods by name, from their presets or from files of one's own."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser

from mdx_progressive.presets import Kind, inlined_settings, preset_path
from mdx_progressive.progressive import Method
from mdx_progressive.runtime import (
    MdxError,
    abridged,
    causes,
    error_text,
    foreign_class_text,
    importable,
    is_class_path,
    is_importable,
    rename_settings,
)
from mdx_progressive.separators import Separator

_UNKNOWN = re.compile(r"Option '([\w.]+)' is not accepted")
_KEY = re.compile(r'Parser key "([\w.-]+)":')
_EXPECTED = re.compile(r"Expected a <class '(?!mdx_progressive)([\w.]+)'>")


def load_separator(
    name: str | Path = "htdemucs",
    /,
    device: str | torch.device | None = None,
    *,
    allow: Sequence[str] = (),
    **settings: object,
) -> Separator:
    """A pretrained separator by name.

    Args:
        name: A name that `mdx-progressive separators` lists, or the path of a YAML file.
        device: Where it computes, as PyTorch names it; by default the CPU.
        allow: Modules of which files may name classes; of other packages than this one they may not.
        settings: Arguments of its class that replace those of the preset, such as `weights="model.ckpt"`.

    Raises:
        MdxError: If there is no separator of that name, it has no such argument, or its weights can't be had.

    Example:
        >>> separator = load_separator("spleeter", bins=64)
        >>> separator.sources, separator.sample_rate
        (['vocals', 'accompaniment'], 44100)
    """
    separator: Separator = _load(Separator, "separator", name, None, allow, settings)
    if device is None:
        return separator
    try:
        return separator.to(device)
    except (AssertionError, RuntimeError) as error:  # A PyTorch without CUDA, a device that is not there.
        raise MdxError(f"the device {str(device)!r} can't be used: {error_text(error)}") from error


def load_method(
    name: str | Path = "balanced",
    /,
    separator: Separator | None = None,
    *,
    allow: Sequence[str] = (),
    **settings: object,
) -> Method:
    """A method by name.

    Args:
        name: `fast`, `balanced`, `best` or `recommended` for that of the separator; the name of another preset, or the
            path of a YAML file.
        separator: The separator that it is to be used with; without one the first four are the plain ensembles.
        allow: Modules of which files may name classes; of other packages than this one they may not.
        settings: Arguments of its class that replace those of the preset, such as `steps=2`.

    Raises:
        MdxError: If there is no method of that name, or it has no such argument.

    Example:
        >>> method = load_method("heun", steps=5)
        >>> method.name, method.steps
        ('heun', 5)
    """
    method: Method = _load(Method, "method", name, separator.name if separator else None, allow, settings)
    return method


def _load(
    base: Any, kind: Kind, name: str | Path, separator: str | None, allow: Sequence[str], settings: Mapping[str, object]
) -> Any:
    """An object of a subclass of `base`, which mypy does not take as a type where it is abstract."""
    path = Path(preset_path(kind, str(name), separator))
    if not path.is_file():
        raise MdxError(f"{path}: no such file, and no {kind} of that name")
    described = rename_settings(inlined_settings(path, separator), {})
    own = {class_path.partition(".")[0] for class_path in _class_paths(settings)}
    described["init_args"] = {**described.get("init_args", {}), **settings}
    with importable([*allow, *own]):
        parser = ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(base, kind)
        try:
            return parser.instantiate_classes(parser.parse_object({kind: described}))[kind]
        except (ArgumentError, TypeError, ValueError) as error:
            # jsonargparse wraps what the class itself has refused into pages about types.
            if own_error := next((each for each in causes(error) if isinstance(each, MdxError)), None):
                raise own_error.with_traceback(None) from None
            foreign = next((each for each in _class_paths(described) if not is_importable(each)), None)
            hint = f"{foreign_class_text(foreign)}: allow=[{foreign.partition('.')[0]!r}]" if foreign else None
            raise MdxError(f"{name}: {hint or _refusal(str(error), described, settings)}") from error


def _refusal(message: str, described: Mapping[str, Any], settings: Mapping[str, object]) -> str:
    """What jsonargparse refuses, of a message that quotes all that it has tried; the innermost comes last."""
    if unknown := _UNKNOWN.search(message):
        chosen = described["class_path"]
        return f"there is no argument {unknown[1]} of {chosen.rpartition('.')[2]}: see help({chosen})"
    keys, expected = _KEY.findall(message), [*dict.fromkeys(_EXPECTED.findall(message))]
    if not keys or not expected:
        return abridged(message)
    given = f", not {abridged(repr(settings[keys[-1]]))}" if keys[-1] in settings else ""
    return f"{keys[-1]} must be {' or '.join(each.replace('NoneType', 'None') for each in expected)}{given}"


def _class_paths(settings: Any) -> Iterator[str]:
    """The names of classes with their modules."""
    if isinstance(settings, Mapping):
        path = settings.get("class_path")
        if isinstance(path, str) and is_class_path(path):
            yield path
    if isinstance(settings, Mapping | list | tuple):
        for value in settings.values() if isinstance(settings, Mapping) else settings:
            yield from _class_paths(value)
