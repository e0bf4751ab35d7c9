"""`mdx-progressive` in the process of the test."""

from mdx_progressive.cli.main import main

NARROW = ("--model.separator.bins", "64")
"""Spleeter up to 700 Hz, at a sixteenth of the cost: for tests of all but what is heard."""


def run(*args: object) -> int:
    """The exit code of `mdx-progressive`."""
    try:
        return main(tuple(map(str, args)))
    except SystemExit as left:
        return int(left.code or 0)
