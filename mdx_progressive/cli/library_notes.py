"""What libraries say on their own: notes of decoders are dropped, warnings are one line in our words."""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TextIO

_NOTES = re.compile(rb"(Note: |Warning: (Xing|Real sample count|Encountered)|\[[^]]*mpg123[^]]*\])")
"""How the lines of libmpg123 begin, which tells of every oddity of an MP3 that it gets over; errors are ours."""
_SECONDS = 1.0
"""How long to wait at the end for lines that are still on their way."""


@contextmanager
def drop_library_notes() -> Iterator[None]:
    """Within it, what C libraries write to the process's stderr is read line by line, and their notes are left out.

    What Python writes goes where it went before, to a terminal too; warnings that only developers can act on are left
    out, others are a line without the place in the code. Where Python's stderr is not the process's, as within tests,
    nothing changes.
    """
    if not _is_of_process(sys.stderr):
        yield
        return
    before = sys.stderr
    before.flush()
    outside = os.dup(2)
    end, begin = os.pipe()
    # Inheritable, as a process's stderr is: started processes write there too.
    sys.stderr = os.fdopen(os.dup(outside), "w", buffering=1, encoding=before.encoding, errors=before.errors)
    os.dup2(begin, 2)
    os.close(begin)
    thread = Thread(target=_pass_on, args=(end, outside), daemon=True)
    thread.start()
    _show_warnings_in_one_line()
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before
        os.dup2(outside, 2)  # The last open end of the pipe, unless a started process is left: it ends.
        thread.join(_SECONDS)


def _show_warnings_in_one_line() -> None:
    for category in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category)

    def show(message: Warning | str, *where: object, **more: object) -> None:
        print(f"mdx-progressive: warning: {' '.join(str(message).split())}", file=sys.stderr)

    warnings.showwarning = show


def _is_of_process(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False


def _pass_on(end: int, outside: int) -> None:
    """Pass on all lines but the notes, as soon as they are whole."""
    with os.fdopen(end, "rb") as lines, os.fdopen(outside, "wb", buffering=0) as destination:
        for line in lines:
            if not _NOTES.match(line):
                destination.write(line)
