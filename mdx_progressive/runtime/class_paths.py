"""Which classes settings may name: a YAML of others must import nothing but what is trusted anyway."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TRUSTED = ("mdx_progressive", "lightning.pytorch")
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_allowed: ContextVar[tuple[str, ...]] = ContextVar("allowed", default=())


@contextmanager
def importable(modules: Iterable[str] = ()) -> Iterator[None]:
    """Within it, what jsonargparse parses may name classes of this package, of Lightning and of these modules.

    Any other name is refused before its module is imported, and so is what these modules only import from elsewhere,
    such as `my_package.os.system`.

    Args:
        modules: Modules or packages.
    """
    from jsonargparse import set_parsing_settings
    from jsonargparse._common import parsing_settings  # A program that uses us may have a parser of its own.

    before = dict(parsing_settings)
    token = _allowed.set(tuple(modules))
    try:
        set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[*_TRUSTED, *_allowed.get()])
        yield
    finally:
        _allowed.reset(token)
        parsing_settings.update(before)


def is_class_path(name: str) -> bool:
    """Whether a text can be the name of a class with its module.

    Example:
        >>> is_class_path("my_package.MySeparator"), is_class_path("MySeparator"), is_class_path("./song.mp3")
        (True, False, False)
    """
    return _PATH.fullmatch(name) is not None


def is_importable(class_path: str) -> bool:
    """Whether settings may name this class now.

    Example:
        >>> is_importable("mdx_progressive.Linear"), is_importable("mdx_progressive_evil.Linear")
        (True, False)
        >>> with importable(["my_package"]):
        ...     is_importable("my_package.schedules.Late")
        True
    """
    return any(class_path == module or class_path.startswith(f"{module}.") for module in (*_TRUSTED, *_allowed.get()))


def foreign_class_text(class_path: str) -> str:
    """What to say of a class that settings may not name; the way to allow it follows."""
    return f"{class_path} is code of another package, and was neither imported nor run; if you trust it"
