"""YAML of others: a bound on what a text may unfold into, whatever it is loaded with."""

from collections.abc import Callable
from typing import Any

import yaml

_MAX_LENGTH = 1 << 20
_MAX_VALUES = 20_000
_MAX_ALIASES = 20
_MAX_DEPTH = 50
_MAX_DIGITS = 1000
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str, load: Callable[[str], Any] = yaml.safe_load) -> Any:
    """The value of a text, which is checked before.

    Args:
        text: The text.
        load: What loads it, without executing anything.

    Raises:
        yaml.YAMLError: If it is no YAML, holds a value that can't be, or more than `check_yaml_size` lets through.

    Example:
        >>> load_yaml("a: 2001-99-99")
        Traceback (most recent call last):
            ...
        yaml.error.YAMLError: month must be in 1..12
    """
    check_yaml_size(text)
    try:
        return load(text)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The constructors of dates, numbers and booleans raise all of these on texts that are none.
        raise yaml.YAMLError(" ".join(str(error).split()) or type(error).__name__) from error


def check_yaml_size(text: str) -> None:
    r"""Refuse a bomb: aliases of aliases grow into billions of values, a nest into an endless recursion.

    Args:
        text: The text; it is read event by event, and no object is built.

    Raises:
        yaml.YAMLError: If it is longer, has more values (each alias counts as all that it stands for), more aliases or
            longer numbers, or is nested deeper than settings and descriptions are.

    Example:
        >>> check_yaml_size("a: &a [1, 2]\nb: *a")
        >>> check_yaml_size("[" * 1000)
        Traceback (most recent call last):
            ...
        yaml.error.YAMLError: nested more than 50 levels deep
    """
    if len(text) > _MAX_LENGTH:
        raise yaml.YAMLError(f"longer than {_MAX_LENGTH} characters")
    values = aliases = 0
    begun: list[tuple[str | None, int]] = []
    sizes: dict[str | None, int] = {}
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if any(anchor == event.anchor for anchor, _ in begun):
                raise yaml.YAMLError(f"the alias {event.anchor:.40} stands within what it stands for")
            values += sizes.get(event.anchor, 0)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            sizes[anchor] = values - before
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            if isinstance(event, yaml.CollectionStartEvent):
                begun.append((event.anchor, values - 1))
            else:
                sizes[event.anchor] = 1
                _check_scalar(event)
        if values > _MAX_VALUES:
            raise yaml.YAMLError(f"more than {_MAX_VALUES} values")
        if aliases > _MAX_ALIASES:
            raise yaml.YAMLError(f"more than {_MAX_ALIASES} aliases")
        if len(begun) > _MAX_DEPTH:
            raise yaml.YAMLError(f"nested more than {_MAX_DEPTH} levels deep")


def _check_scalar(event: Any) -> None:
    """Refuse long numbers, which take time that grows with the square of their length."""
    # A text without quotes that begins like a number, or one that a tag says to be something.
    special = event.tag is not None or (event.implicit[0] and event.value[:1] in "+-.0123456789")
    if special and len(event.value) > _MAX_DIGITS:
        raise yaml.YAMLError(f"a number or date of {len(event.value)} characters")
