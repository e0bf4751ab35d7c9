"""The commands of LightningCLI: their help, and their arguments spelt out and checked, before Lightning is imported."""

import logging
import sys
from collections.abc import Sequence

from mdx_progressive.cli.errors import TRACEBACK, print_error
from mdx_progressive.cli.help_texts import PREPARE, everyday_help
from mdx_progressive.cli.shorthand import expand
from mdx_progressive.presets import accepted_names
from mdx_progressive.runtime import MdxError, is_first_process

log = logging.getLogger(__name__)

_HELP_ALL = "--help-all"


def predict(args: Sequence[str]) -> None:
    """`mdx-progressive predict`."""
    _launch("predict", args or ["--help"])


def test(args: Sequence[str]) -> None:
    """`mdx-progressive test`."""
    _launch("test", args)


def benchmark(args: Sequence[str]) -> None:
    """`mdx-progressive benchmark`."""
    _launch("benchmark", args)


def tune(args: Sequence[str]) -> None:
    """`mdx-progressive tune`."""
    _launch("tune", args or ["--help"])


def prepare(args: Sequence[str]) -> None:
    """`mdx-progressive prepare`."""
    if "-h" in args or "--help" in args:
        print(PREPARE, end="")
        return
    from mdx_progressive.cli.prepare import prepare

    prepare(["--help" if arg == _HELP_ALL else arg for arg in args])


def _launch(command: str, args: Sequence[str]) -> None:
    if "-h" in args or "--help" in args:
        print(everyday_help(command, accepted_names("method")), end="")
        return
    try:
        line = expand(command, [arg for arg in args if arg != _HELP_ALL])
    except MdxError as error:
        if TRACEBACK in args:
            raise
        print_error(str(error))
        sys.exit(2)
    if _HELP_ALL not in args and "--print_config" not in args:
        line.check_paths()
        if is_first_process():
            log.info(line.announcement)
    from mdx_progressive.cli.lightning import run

    arguments = [command, "--help"] if _HELP_ALL in args else [command, *line.args]
    run(arguments, line.separator, line.modules, line.paths)
