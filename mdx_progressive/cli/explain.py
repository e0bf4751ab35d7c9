"""Errors of the parser in the words of a user: the whole key, where it stands, and the nearest that there is."""

import inspect
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import yaml

import mdx_progressive
from mdx_progressive.cli.keys import GROUPS, OPTIONS, OWN_OPTIONS
from mdx_progressive.cli.own_code import ALLOW
from mdx_progressive.presets import nearest
from mdx_progressive.runtime import check_yaml_size, foreign_class_text, is_class_path, is_importable

_LONGEST = 600
_LARGEST = 1 << 24
"""Bytes of a file of settings, at most."""
_UNKNOWN_OF_CLASS = re.compile(r"Option '([\w.]+)' is not accepted")
_UNKNOWN_KEY = re.compile(r"does not accept option '([\w.-]+)'")
_UNKNOWN_OPTION = re.compile(r"unrecognized arguments: --([\w.-]+)")
_UNKNOWN_CLASS = re.compile(r"(?:No mdx_progressive attribute |Expected a dot import path string: )([\w.]+)")
_PARSER_KEY = re.compile(r'Parser key "([\w.-]+)":')
_EXPECTED = re.compile(r"Expected a <class '([\w.]+)'>")
_LOOP = re.compile(r"Config file loop detected: .*?([^ ]+)$")
_PRESET = re.compile(r"^there is no [\w ]+ of the name '([^']+)'")
_NESTED = re.compile(r"NestedArg\(key='([\w.]+)'")
_GIVEN = re.compile(r"(?:Given|Got) value: (.*)$")
_LITERAL = re.compile(r"Expected a typing\.Literal\[(.*?)\]")
_NOT_YAML = re.compile(r'Problems parsing config: (.*) in "<unicode string>", line (\d+), column (\d+)')


class Place(NamedTuple):
    """Where a key stands in a file.

    Args:
        file: The file.
        line: The line, from 1.
        path: The keys that lead to it, itself last.
        family: The class whose arguments it is among; None where it is no argument of a class.
        value: Its value, where that is a scalar.
    """

    file: Path
    line: int
    path: tuple[str, ...]
    family: str | None
    value: str | None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: "


def explain(message: str, args: Sequence[str]) -> str:
    """A message of jsonargparse, in the words of a user where it is of a known kind.

    Args:
        message: The message.
        args: The arguments that were parsed; the files that they name are searched for the key.
    """
    if foreign := _foreign_class(message, args):
        return foreign
    for pattern, tell in _KINDS:
        if found := pattern.search(message):
            told = tell(found, message, args)
            if told is not None:
                return told
    # jsonargparse quotes the whole value, which may be a file of thousands of numbers.
    return shorten(message, _LONGEST, placeholder=" …")


def _foreign_class(message: str, args: Sequence[str]) -> str | None:
    """A class that settings may not name; jsonargparse often tells only that the value has another type."""
    for place in _places(args):
        name = place.value or ""
        meant = place.path[-1] == "class_path" or (name in message and not _is_small_file(place.file.parent / name))
        if meant and is_class_path(name) and not is_importable(name):
            key = ".".join(each for each in place.path if each not in ("init_args", "class_path"))
            return f"{place}{key or 'class_path'}: {foreign_class_text(name)}: {ALLOW} {name.partition('.')[0]}"
    return None


def _argument_of_class(found: re.Match[str], message: str, args: Sequence[str]) -> str:
    name = found[1].rpartition(".")[2]
    option = next((arg[2:].partition("=")[0] for arg in args if re.match(rf"--[\w.]+\.{name}(=|$)", arg)), None)
    place = None if option else _find(args, name)
    family = place.family if place else None
    known = _parameters(family) if family else sorted({key for each in _classes() for key in _parameters(each)})
    parent = f"{option.rpartition('.')[0]}." if option else ""
    whole = f"--{option}" if option else ".".join(key for key in place.path if key != "init_args") if place else name
    owner = f" of {family}" if family else ""
    if not family and name in known:
        having = ", ".join(each for each in _classes() if name in _parameters(each))
        return f"{place or ''}the class that is chosen has no key {whole}, but {having} have"
    return f"{place or ''}there is no key {whole}{owner}{_meant(name, known, f'--{parent}' if parent else '')}"


def _key(found: re.Match[str], message: str, args: Sequence[str]) -> str:
    name = found[1]
    group, _, key = name.partition(".")
    # A group that does not exist is told by the first of its keys.
    whole = name if group in (*GROUPS, "trainer") else group
    place = _find(args, key.rpartition(".")[2] if whole == name else group)
    if group == "trainer":
        known = [f"trainer.{each}" for each in _trainer_keys()]
    elif whole == name:
        known = [f"{group}.{each}" for each in GROUPS[group]]
    else:
        known = [*GROUPS, *OPTIONS, "trainer"]
    return f"{place or ''}there is no key {whole}{_meant(whole, known)}"


def _option(found: re.Match[str], message: str, args: Sequence[str]) -> str:
    name = found[1]
    known = [*OPTIONS, *(key for keys in OWN_OPTIONS.values() for key in keys)]
    known += [f"{group}.{key}" for group, keys in GROUPS.items() for key in keys]
    known += [f"trainer.{key}" for key in _trainer_keys()]
    return f"there is no option --{name}{_meant(name, known, '--')}"


def _class(found: re.Match[str], message: str, args: Sequence[str]) -> str | None:
    name = found[1].rpartition(".")[2]
    if name in _classes():
        return None
    place = next((each for each in _places(args) if each.value and each.value.rpartition(".")[2] == name), None)
    key = _PARSER_KEY.search(message)
    of_key = f"{key[1]}: " if key and place is None else ""
    return f"{place or of_key}there is no class or preset {name}{_meant(name, _classes())}"


def _type(found: re.Match[str], message: str, args: Sequence[str]) -> str | None:
    if nested := _NESTED.match(given[1] if (given := _GIVEN.search(message)) else ""):
        return f"--{found[1]}.{nested[1]} is a key of a class: choose that first, --{found[1]} NAME"
    if choices := _LITERAL.search(message):
        return f"{found[1]} is {choices[1]}" + (f", not {given[1]!r}" if given else "")
    expected = [each.replace("NoneType", "null") for each in dict.fromkeys(_EXPECTED.findall(message))]
    if not expected or given is None:
        return None
    place = next((each for each in _places(args) if each.path[-1] == found[1] and each.value == given[1]), None)
    key = ".".join(each for each in place.path if each != "init_args") if place else found[1]
    return f"{place or ''}{key} must be {' or '.join(expected)}, not {shorten(given[1], 80, placeholder=' …')}"


def _loop(found: re.Match[str], message: str, args: Sequence[str]) -> str | None:
    """A file that can't be read as settings of its class; jsonargparse then takes its name for settings."""
    for place in _places(args):
        if place.path[-1] == "class_path" and place.value:
            package, _, name = place.value.rpartition(".")
            if package in ("", mdx_progressive.__name__) and name not in _classes():
                return f"{place}there is no class {name}{_meant(name, _classes())}"
        known = _parameters(place.family) if place.family else ()
        if known and place.path[-1] not in known:
            return f"{place}there is no key {place.path[-1]} of {place.family}{_meant(place.path[-1], known)}"
    key = _PARSER_KEY.search(message)
    return f"{found[1]}: holds nothing that can be {key[1]}" if key else None


def _preset(found: re.Match[str], message: str, args: Sequence[str]) -> str | None:
    place = next((each for each in _places(args) if each.value == found[1]), None)
    return f"{place or ''}{message}"


def _not_yaml(found: re.Match[str], message: str, args: Sequence[str]) -> str:
    reason = re.sub(r' in "<unicode string>", line \d+, column \d+', ",", found[1])
    return f"line {found[2]}: not YAML ({reason})"


_KINDS = (
    (_NOT_YAML, _not_yaml),
    (_PRESET, _preset),
    (_LOOP, _loop),
    (_UNKNOWN_OF_CLASS, _argument_of_class),
    (_UNKNOWN_KEY, _key),
    (_UNKNOWN_OPTION, _option),
    (_UNKNOWN_CLASS, _class),
    (_PARSER_KEY, _type),
)
"""The kinds of messages, each with what tells it in other words; the first that does is taken."""


def _meant(name: str, known: Sequence[str], prefix: str = "") -> str:
    close = nearest(name, known)
    return f": did you mean {' or '.join(prefix + each for each in close)}?" if close else f" ({', '.join(known)})"


def _find(args: Sequence[str], key: str) -> Place | None:
    return next((place for place in _places(args) if place.path[-1] == key), None)


def _places(args: Sequence[str]) -> Iterator[Place]:
    """All keys of the files that the arguments name, and of the files that these name."""
    files = [Path(value) for arg in args for value in _values(arg.rpartition("=")[2])]
    seen: set[Path] = set()
    while files:
        file = files.pop(0)
        if file in seen or file.suffix not in (".yaml", ".yml", ".json", "") or not _is_small_file(file):
            continue
        seen.add(file)
        try:
            text = file.read_text(encoding="utf-8")
            check_yaml_size(text)
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        for place in _keys(node, file, (), None):
            yield place
            if place.value:
                files.append(file.parent / place.value)


def _values(text: str) -> list[str]:
    """The value of an argument, or those in a list of names."""
    listed = text.strip()
    if not (listed.startswith("[") and listed.endswith("]")):
        return [text]
    return [value.strip(" '\"") for value in listed[1:-1].split(",")]


def _is_small_file(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _LARGEST
    except OSError:  # Settings that are no path, too long a name for one.
        return False


def _keys(node: Any, file: Path, path: tuple[str, ...], family: str | None) -> Iterator[Place]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if path and isinstance(item, yaml.ScalarNode):
                yield Place(file, item.start_mark.line + 1, path, family, item.value)
            yield from _keys(item, file, path, None)
    if not isinstance(node, yaml.MappingNode):
        return
    pairs = [(key.value, key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
    own = next((value.value for name, _, value in pairs if name == "class_path"), None)
    for name, key, value in pairs:
        scalar = value.value if isinstance(value, yaml.ScalarNode) else None
        yield Place(file, key.start_mark.line + 1, (*path, name), family, scalar)
        of_class = own.rpartition(".")[2] if own and name == "init_args" else None
        yield from _keys(value, file, (*path, name), of_class)


@cache
def _classes() -> tuple[str, ...]:
    return tuple(name for name in mdx_progressive.__all__ if name[:1].isupper())


@cache
def _parameters(family: str) -> tuple[str, ...]:
    """The arguments of a class of the package; none where it is another's."""
    if family not in _classes():
        return ()
    return tuple(name for name in inspect.signature(getattr(mdx_progressive, family)).parameters)


@cache
def _trainer_keys() -> tuple[str, ...]:
    from lightning.pytorch import Trainer

    return tuple(inspect.signature(Trainer).parameters)
