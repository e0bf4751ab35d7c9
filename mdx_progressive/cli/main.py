"""The entry of the command line: dispatch to a command, and errors in one line.

What is asked for is looked at before anything large is imported: a misspelt command is answered at once.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from copy import copy
from io import TextIOWrapper
from pathlib import Path
from pkgutil import resolve_name
from textwrap import shorten

from mdx_progressive import __version__
from mdx_progressive.cli.errors import TRACEBACK, is_stdout_gone, print_error, system_error_text
from mdx_progressive.cli.help_texts import SUMMARIES, main_help
from mdx_progressive.cli.library_notes import drop_library_notes
from mdx_progressive.presets import nearest
from mdx_progressive.runtime import (
    RESUME_HINT,
    MdxError,
    error_text,
    escape_lines,
    escape_unprintable,
    is_disk_full,
    is_out_of_memory,
)

_COMMANDS = {
    "predict": "mdx_progressive.cli.launch:predict",
    "test": "mdx_progressive.cli.launch:test",
    "benchmark": "mdx_progressive.cli.launch:benchmark",
    "tune": "mdx_progressive.cli.launch:tune",
    "compare": "mdx_progressive.cli.compare:compare",
    "report": "mdx_progressive.cli.report:report",
    "init": "mdx_progressive.cli.init:init",
    "separators": "mdx_progressive.cli.separators:separators",
    "schedules": "mdx_progressive.cli.schedules:schedules",
    "prepare": "mdx_progressive.cli.launch:prepare",
    "completion": "mdx_progressive.cli.completion:completion",
}
"""Where each command is; it is imported when it runs."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        args: The arguments; by default those of the process.
    """
    with drop_library_notes():
        return _main(list(sys.argv[1:] if args is None else args))


def _main(given: Sequence[str]) -> int:
    _quieten()
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # As stderr is: a table may name songs in any script.
    try:
        _run(given)
        sys.stdout.flush()
    except Exception as error:
        if isinstance(error, BrokenPipeError) and is_stdout_gone():
            return 141  # As a shell has it for a program that writes to a closed pipe.
        line = _message(error)
        if line is None or TRACEBACK in given:
            raise
        print_error(line)
        return error.exit_code if isinstance(error, MdxError) else 1
    except KeyboardInterrupt:
        if TRACEBACK in given:
            raise
        print_error("stopped by a signal")
        return 130  # As a shell has it for Ctrl-C.
    return 0


def _run(given: Sequence[str]) -> None:
    command = given[0] if given else "--help"
    if command in ("-h", "--help", "--help-all", "help"):
        print(main_help(), end="")
    elif command in ("-V", "--version"):
        print(f"mdx-progressive {__version__}")
    elif command in _COMMANDS:
        run: Callable[[Sequence[str]], None] = resolve_name(_COMMANDS[command])
        run(given[1:])
    else:
        close = nearest(command, list(_COMMANDS))
        meant = f" (did you mean {' or '.join(close)}?)" if close else ""
        commands = "\n".join(f"  {name:<12}{summary}" for name, summary in SUMMARIES.items())
        print_error(f"there is no command {command!r}{meant}; the commands are\n{commands}")
        sys.exit(2)


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
    if type(error).__name__ == "MisconfigurationException":  # Lightning's, which is not imported for its class alone.
        return f"{error_text(error)} Choose another device with -d (cpu, cuda, mps), or leave it out"
    if isinstance(error, OSError):
        hint = f"; {RESUME_HINT}" if is_disk_full(error) else ""
        return system_error_text(error) + hint
    return None


class _Printable(logging.Formatter):
    """Messages as a terminal shows them: what is put into a line, names of files above all, stays within it."""

    def format(self, record: logging.LogRecord) -> str:
        shown = copy(record)
        if isinstance(record.args, tuple):
            shown.args = tuple(
                escape_unprintable(str(arg)) if isinstance(arg, str | Path) else arg for arg in record.args
            )
        return escape_lines(super().format(shown))


def _quieten() -> None:
    """Show our own messages, and of the libraries' messages only those that a user can act on."""
    log = logging.getLogger("mdx_progressive")
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(message)s"))
    log.handlers[:] = [handler]  # stderr may be another stream when `main` is called again
    log.setLevel(logging.INFO)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    # A chunk takes seconds to minutes to separate and milliseconds to read.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # All songs are separated already, which the writer reports.
    warnings.filterwarnings("ignore", message="Total length of .* across ranks is zero")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # Lightning with torch 2.13
