"""YAML of others: how much a text may unfold into, whatever it is loaded with."""

import yaml

_LONGEST = 1 << 22
_MOST_ALIASES = 20
_DEEPEST = 50
_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_extent(text: str) -> None:
    r"""See that a text is no bomb: aliases of aliases grow into billions of values, a nest into an endless recursion.

    Args:
        text: The text; it is read event by event, and nothing is made of it.

    Raises:
        yaml.YAMLError: If it is longer, has more aliases or is nested deeper than settings and descriptions are.

    Example:
        >>> check_extent("a: &a [1, 2]\nb: *a")
        >>> check_extent("[" * 1000)
        Traceback (most recent call last):
            ...
        yaml.error.YAMLError: nested more than 50 levels deep
    """
    if len(text) > _LONGEST:
        raise yaml.YAMLError(f"longer than {_LONGEST} characters")
    aliases = depth = 0
    for event in yaml.parse(text, Loader=_Parser):
        aliases += isinstance(event, yaml.AliasEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if aliases > _MOST_ALIASES:
            raise yaml.YAMLError(f"more than {_MOST_ALIASES} aliases")
        if depth > _DEEPEST:
            raise yaml.YAMLError(f"nested more than {_DEEPEST} levels deep")
