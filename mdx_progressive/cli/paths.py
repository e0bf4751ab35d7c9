"""Paths on the command line: taken letter by letter, whatever they would be as YAML."""

from collections.abc import Sequence
from itertools import pairwise

from mdx_progressive.runtime import MdxError

PATHS = (
    "config", "default_root_dir", "input", "json", "log-json", "log_json", "out", "program", "root", "save_dir", "to",
    "weights",
)  # fmt: skip
"""The last words of the options that take a path."""


def is_of_path(option: str) -> bool:
    """Whether an option takes a path.

    Example:
        >>> is_of_path("--data.input"), is_of_path("--model.separator.init_args.weights"), is_of_path("--data.chunk")
        (True, True, False)
    """
    return option.startswith("--") and option.removeprefix("--").rpartition(".")[2] in PATHS


def check_path(option: str, value: str) -> str:
    """A path as an option takes it, which jsonargparse does not read as null.

    Raises:
        MdxError: If it is empty, which would be the current folder.

    Example:
        >>> check_path("--data.input", "null"), check_path("--data.input", "#1 hit.flac")
        ('./null', '#1 hit.flac')
    """
    if not value:
        raise MdxError(f"{option} is empty: give a path, . for the current folder")
    # It reads the word without the loader of YAML, and takes a dash for the beginning of an option.
    return f"./{value}" if value == "null" or (value.startswith("-") and value != "-") else value


def given_paths(args: Sequence[str]) -> frozenset[str]:
    """The paths among arguments in the spelling of LightningCLI."""
    found = [arg.partition("=")[2] for arg in args if "=" in arg and is_of_path(arg.partition("=")[0])]
    return frozenset(found + [value for option, value in pairwise(args) if is_of_path(option)])
