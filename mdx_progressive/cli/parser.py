"""Parsers of the commands: help texts as written, YAML with limits, errors in one line to stderr."""

import logging
import os
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, ClassVar, NoReturn

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, get_loader, set_loader

from mdx_progressive.cli.errors import TRACEBACK, print_error
from mdx_progressive.cli.explain import explain
from mdx_progressive.presets import resolve_names
from mdx_progressive.runtime import MdxError, former_names, load_yaml, rename_settings

log = logging.getLogger(__name__)

_separator: ContextVar[str | None] = ContextVar("separator", default=None)
"""The name of the separator at hand: `method: recommended` in a file is that of this one."""

_paths: ContextVar[frozenset[str]] = ContextVar("paths", default=frozenset())
"""Paths that were given on the command line."""

_load = get_loader("yaml")


def _load_checked(text: str) -> Any:
    if text in _paths.get():
        return text
    renamed: dict[str, str] = {}
    settings = rename_settings(load_yaml(text, _load), renamed)
    for former, today in renamed.items():
        _tell_renamed(former, today)
    return resolve_names(settings, _separator.get())


@cache
def _tell_renamed(former: str, today: str) -> None:
    """Settings are loaded several times while a command line is parsed; the change is named once."""
    log.warning("the settings name %s, which is called %s now", former, today)


set_loader("yaml", _load_checked, (yaml.YAMLError,))


@contextmanager
def separator_at_hand(name: str | None) -> Iterator[None]:
    """Within it, methods that depend on the separator are those of this one.

    Args:
        name: The name of its weights, as its own tool knows them.
    """
    token = _separator.set(name)
    try:
        yield
    finally:
        _separator.reset(token)


@contextmanager
def literal(paths: frozenset[str]) -> Iterator[None]:
    """Within it, these values are text, whatever they would be as YAML: `#1 hit.flac`, `[FLAC]`, `~`."""
    token = _paths.set(paths)
    try:
        yield
    finally:
        _paths.reset(token)


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's formatter, which keeps the lines of the description."""


class OneLineErrors(ArgumentParser):
    """A parser whose errors are one line, with exit code 2."""

    _file = ""
    _args: ClassVar[Sequence[str]] = ()
    """The arguments that are parsed, which the parsers of subcommands are asked about too."""

    def parse_args(self, args: Sequence[str] | None = None, *further: Any, **options: Any) -> Namespace:  # type: ignore[override]
        """Parse arguments; errors tell which of them, or which line of a file they name, is wrong."""
        if OneLineErrors._args:  # Of a subcommand, or of a class within the arguments.
            inner: Namespace = super().parse_args(args, *further, **options)
            return inner
        OneLineErrors._args = sys.argv[1:] if args is None else args
        try:
            settings: Namespace = super().parse_args(args, *further, **options)
        except MdxError as error:
            self.error(str(error), error)
        finally:
            OneLineErrors._args = ()
        return settings

    def parse_path(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Namespace:
        """Read a file of settings; errors name it."""
        self._file = f"{path}: "
        try:
            settings: Namespace = super().parse_path(path, *args, **kwargs)
            return settings
        except UnicodeDecodeError as error:
            self.error(f"not YAML ({error})", error)
        finally:
            self._file = ""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the message and exit, or raise the error itself if a traceback was asked for."""
        if ex is not None and TRACEBACK in sys.argv:
            raise ex
        today = "".join(f" ({former} is called {name} now)" for former, name in former_names(message))
        told = explain(message, self._args)
        file = "" if told.startswith(tuple(f"{arg}:" for arg in self._args)) else self._file
        print_error(file + told + today)
        sys.exit(2)
