"""Parsers of the commands: help texts as written, YAML with limits, errors in one line to stderr."""

import logging
import os
import sys
from argparse import RawDescriptionHelpFormatter
from functools import cache
from textwrap import shorten
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, get_loader, set_loader

from mdx_progressive.runtime import check_yaml_size, former_names, rename_settings

log = logging.getLogger(__name__)

TRACEBACK = "--traceback"
"""The option that shows where in the code an error was raised."""
_LONGEST = 600


_load = get_loader("yaml")


def _load_checked(text: str) -> Any:
    check_yaml_size(text)
    renamed: dict[str, str] = {}
    settings = rename_settings(_load(text), renamed)
    for former, today in renamed.items():
        _tell_renamed(former, today)
    return settings


@cache
def _tell_renamed(former: str, today: str) -> None:
    """Settings are loaded several times while a command line is parsed; the change is named once."""
    log.warning("the settings name %s, which is called %s now", former, today)


set_loader("yaml", _load_checked, (yaml.YAMLError,))


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's formatter, which keeps the lines of the description."""


class OneLineErrors(ArgumentParser):
    """A parser whose errors are one line, with exit code 2."""

    _file = ""

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
        # jsonargparse quotes the whole value, which may be a file of thousands of numbers.
        today = "".join(f" ({former} is called {name} now)" for former, name in former_names(message))
        print_error(self._file + shorten(message, _LONGEST, placeholder=" …") + today)
        sys.exit(2)


def print_error(message: str) -> None:
    """Print an error message."""
    print(f"mdx-progressive: error: {message}", file=sys.stderr)
