"""Errors that a user can put right: bad input, a missing file, an impossible setting; and texts for messages."""

from collections.abc import Iterator

RESUME_HINT = "what is done is kept, and the same command resumes the run"
"""The way out where a run ends early."""
_ROOM = 300
"""Letters of a text of others in a message."""


class MdxError(ValueError):
    """An error of the input or the settings, in one line that names it and the way out.

    The command line prints the message alone, without a traceback. Anything else that is raised is a
    defect of the package and keeps its traceback.
    """

    exit_code = 1
    """With which the process ends."""


class StoppedError(MdxError):
    """A signal has stopped the run.

    Args:
        signum: Its number; 2 for Ctrl-C.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by a signal; {RESUME_HINT}")
        self.exit_code = 128 + signum  # As a shell has it.


class ChangedError(MdxError):
    """A file has changed while it was in use: what was computed from it is of no use."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came of, the nearest first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the singular where it is one.

    Example:
        >>> counted(1, "song"), counted(2, "song"), counted(2, "pass", "passes")
        ('1 song', '2 songs', '2 passes')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def abridged(text: str) -> str:
    """The beginning of a text of others, which may be of any length, as a message has room for it.

    Example:
        >>> len(abridged("x" * 1_000_000)), abridged("short")
        (302, 'short')
    """
    return text if len(text) <= _ROOM else f"{text[:_ROOM]} …"


def error_text(error: Exception) -> str:
    """The first line of a library's error message, or else the name of its class.

    Example:
        >>> error_text(OSError("no such host")), error_text(EOFError()), error_text(KeyError(101))
        ('no such host', 'EOFError', 'KeyError')
    """
    message = str(error).strip()
    return message.splitlines()[0] if message and not isinstance(error, KeyError) else type(error).__name__
