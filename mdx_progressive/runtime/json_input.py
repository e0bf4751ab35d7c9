"""JSON that anybody may have written: what it holds is checked before it is used."""

import json
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_LARGEST = 2**53
"""Integers up to it are exact wherever JSON is read."""


def parse_json(content: str | bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: If it is none, or nested beyond all sense.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(path: Path) -> Any:
    """As `parse_json`, of a file in UTF-8.

    Raises:
        OSError: If it can't be read.
        ValueError: If it is no JSON.
    """
    return parse_json(path.read_text(encoding="utf-8"))


def check_type(value: Any, kind: Any) -> Any:
    """The value, which is of a kind: a class, a list, dict or union of them, or one of some values.

    A whole number is a float too, and no number is true or false.

    Raises:
        TypeError: If it is of another kind, or a whole number that is too large.

    Example:
        >>> check_type(1, float), check_type(["a"], list[str]), check_type(None, int | None)
        (1.0, ['a'], None)
        >>> check_type(["1", 2], list[str])
        Traceback (most recent call last):
        TypeError: 2 is no str
    """
    origin, options = get_origin(kind), get_args(kind)
    if origin is list:
        return [check_type(item, options[0]) for item in check_type(value, list)]
    if origin is dict:
        return {
            check_type(key, options[0]): check_type(item, options[1]) for key, item in check_type(value, dict).items()
        }
    if origin in (Union, UnionType):
        kinds = [option for option in options if _is_of(value, option)]
        return check_type(value, kinds[0] if kinds else options[0])
    if origin is Literal and isinstance(value, str) and value in options:
        return value
    if origin is Literal or not _is_of(value, kind):
        text = repr(value) if isinstance(value, str | int | float) else ""
        shown = text if 0 < len(text) < 50 else f"a value of type {type(value).__name__}"
        raise TypeError(f"{shown} is no {getattr(kind, '__name__', kind)}")
    return float(value) if kind is float else value


def check_fields(record: Any) -> None:
    """See that the fields of a dataclass are of its types.

    Raises:
        TypeError: If one is not; it is named.
    """
    for name, kind in get_type_hints(type(record)).items():
        try:
            check_type(getattr(record, name), kind)
        except (AttributeError, TypeError) as error:
            raise TypeError(f"{name}: {error}") from error


def _is_of(value: object, kind: Any) -> bool:
    kind = get_origin(kind) or kind
    if kind is Any:
        return True
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, int) and kind in (int, float):
        return abs(value) <= _LARGEST
    return isinstance(value, kind)
