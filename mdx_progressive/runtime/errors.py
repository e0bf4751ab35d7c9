"""The one exception that a user can put right: bad input, a missing file, an impossible setting."""

RESUME_HINT = "what is done stays, and the same command goes on with it"
"""The way out where a run has come to an early end."""


class MdxError(ValueError):
    """A fault of the input or the settings, told in one line that names it and the way out.

    The command line prints the message alone, without a traceback. Anything else that is raised is a
    defect of the package and keeps its traceback.
    """


class ChangedError(MdxError):
    """A file is another one than before: what was made of it is of no use."""


def one_line(text: str) -> str:
    r"""The text in one line of what can be printed, whatever there is in the names of files.

    Example:
        >>> print(one_line("a\n\x1b[31m\udcff.wav: no such file"))
        a\n\x1b[31m\udcff.wav: no such file
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def error_text(error: Exception) -> str:
    """The first line of what a library says, or else the name of its error.

    Example:
        >>> error_text(OSError("no such host")), error_text(EOFError()), error_text(KeyError(101))
        ('no such host', 'EOFError', 'KeyError')
    """
    said = str(error).strip()
    return said.splitlines()[0] if said and not isinstance(error, KeyError) else type(error).__name__
