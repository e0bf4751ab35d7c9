"""How the command line tells an error."""

import sys

TRACEBACK = "--traceback"
"""The option that shows where in the code an error was raised."""


def print_error(message: str) -> None:
    """Print an error message."""
    print(f"mdx-progressive: error: {message}", file=sys.stderr)
