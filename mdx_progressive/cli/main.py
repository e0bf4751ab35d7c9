"""The entry of the command line: dispatch to a command, and errors in one line."""

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from textwrap import shorten

from mdx_progressive.cli.compare import compare
from mdx_progressive.cli.lightning import run
from mdx_progressive.cli.listing import list_schedules, list_separators
from mdx_progressive.cli.parser import TRACEBACK, print_error
from mdx_progressive.cli.prepare import prepare
from mdx_progressive.cli.report import report
from mdx_progressive.runtime import RESUME_HINT, MdxError, error_text, is_out_of_memory

# Commands without LightningCLI; it has all others.
_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "separators": list_separators,
    "schedules": list_schedules,
    "compare": compare,
    "prepare": prepare,
    "report": report,
}


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        args: The arguments; by default those of the process.
    """
    _quieten()
    given = list(sys.argv[1:] if args is None else args)
    try:
        command = _COMMANDS.get(given[0] if given else "")
        if command is None:
            run(args)
        else:
            command(given[1:])
    except Exception as error:
        line = _message(error)
        if line is None or TRACEBACK in given:
            raise
        print_error(line)
        return 1
    except KeyboardInterrupt:
        if TRACEBACK in given:
            raise
        print_error("stopped by a signal")
        return 130  # As a shell has it for Ctrl-C.
    return 0


def _message(error: Exception) -> str | None:
    """The message of an error in one line; None for a defect of the package."""
    if isinstance(error, MdxError):
        return str(error)
    if is_out_of_memory(error):
        reason = shorten(error_text(error), 90, placeholder=" …")
        return (
            f"out of memory ({reason}): use a smaller data.block (data.chunk in `test`), a shorter segment of the"
            f" separator, or fewer augmentations of the method; {RESUME_HINT}"
        )
    if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"):
        return (
            "a data.num_workers process was killed, perhaps because it was out of memory: run the command"
            " again with fewer data.num_workers; it resumes where it stopped"
        )
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    return None


def _quieten() -> None:
    """Show our own messages, and of the libraries' messages only those that a user can act on."""
    log = logging.getLogger("mdx_progressive")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.handlers[:] = [handler]  # stderr may be another stream when `main` is called again
    log.setLevel(logging.INFO)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    # A chunk takes seconds to minutes to separate and milliseconds to read.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # All songs are separated already, which the writer reports.
    warnings.filterwarnings("ignore", message="Total length of .* across ranks is zero")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning with torch 2.13
