"""How the commands explain themselves, and complain: in one line, to stderr."""

import sys
from argparse import RawDescriptionHelpFormatter
from typing import NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter

TRACEBACK = "--traceback"
"""The option that shows where in the code an error was raised."""


class HelpFormatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """jsonargparse's, which leaves the lines of the description as they are."""


class OneLineErrors(ArgumentParser):
    """A parser that complains in one line, with exit code 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Complain and leave, or raise the error itself where it is wanted whole."""
        if ex is not None and TRACEBACK in sys.argv:
            raise ex
        complain(" ".join(message.split()))
        sys.exit(2)


def complain(message: str) -> None:
    """Print what is wrong."""
    print(f"mdx-progressive: error: {message}", file=sys.stderr)
