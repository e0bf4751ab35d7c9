"""YAML of others: a bound on what a text may unfold into, whatever it is loaded with."""

import yaml

_MAX_LENGTH = 1 << 22
_MAX_ALIASES = 20
_MAX_DEPTH = 50
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_yaml_size(text: str) -> None:
    r"""Refuse a bomb: aliases of aliases grow into billions of values, a nest into an endless recursion.

    Args:
        text: The text; it is read event by event, and no object is built.

    Raises:
        yaml.YAMLError: If it is longer, has more aliases or is nested deeper than settings and descriptions are.

    Example:
        >>> check_yaml_size("a: &a [1, 2]\nb: *a")
        >>> check_yaml_size("[" * 1000)
        Traceback (most recent call last):
            ...
        yaml.error.YAMLError: nested more than 50 levels deep
    """
    if len(text) > _MAX_LENGTH:
        raise yaml.YAMLError(f"longer than {_MAX_LENGTH} characters")
    aliases = depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if aliases > _MAX_ALIASES:
            raise yaml.YAMLError(f"more than {_MAX_ALIASES} aliases")
        if depth > _MAX_DEPTH:
            raise yaml.YAMLError(f"nested more than {_MAX_DEPTH} levels deep")
