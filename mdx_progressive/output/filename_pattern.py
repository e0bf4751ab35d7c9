"""Names of the files of estimates, by a pattern."""

from pathlib import PurePosixPath
from string import Formatter

from mdx_progressive.runtime import MdxError

_KEYS = ("song", "source", "separator", "method")


class FilenamePattern:
    """A pattern as {song}/{source}, without the suffix.

    Args:
        pattern: Text with the keys song, source, separator and method in braces; slashes make folders.

    Raises:
        MdxError: If it has another key, does not tell sources apart, or leads out of the folder.

    Example:
        >>> FilenamePattern("{separator}/{song} ({source})").name("a/b", "vocals", "Spleeter", "linear")
        'Spleeter/a/b (vocals)'
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        try:
            keys = [key for _, key, _, _ in Formatter().parse(pattern) if key is not None]
        except ValueError as error:
            raise MdxError(f"writer.name: {pattern!r} can't be read ({error})") from error
        if unknown := [key for key in keys if key not in _KEYS]:
            raise MdxError(f"writer.name: {{{unknown[0]}}} is not known; {', '.join(_KEYS)} are")
        if "source" not in keys:
            raise MdxError(f"writer.name: {pattern!r} has no {{source}}, and all estimates of a song would be one file")
        path = PurePosixPath(pattern.replace("\\", "/"))
        if path.is_absolute() or pattern[1:2] == ":" or any(part.startswith(".") for part in path.parts):
            raise MdxError(f"writer.name: {pattern!r} leads out of the folder, or to a hidden file")

    def name(self, song: str, source: str, separator: str, method: str) -> str:
        """The name of a file, with forward slashes and without a suffix."""
        return self.pattern.format(song=song, source=source, separator=separator, method=method)
