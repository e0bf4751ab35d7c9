"""Searching folders for audio: links are followed, and only what is known to be no song is left out."""

import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mdx_progressive.audio import AUDIO_SUFFIXES
from mdx_progressive.runtime import warn_once

log = logging.getLogger(__name__)

_NO_SONGS = frozenset({
    "#recycle", "$recycle.bin", ".appledouble", ".ds_store", ".fseventsd", ".spotlight-v100", "@eadir", "__macosx",
    "lost+found", "system volume information",
})  # fmt: skip
"""What file systems and servers put among a user's files, in small letters; a name in it is that of no song."""
_OTHERS = re.compile(r"\._.*|\.trash(es|-\d+)?", re.DOTALL)
"""The files that macOS writes beside others, with the same suffix, and folders of deleted files."""
_SHOWN = 3


def is_no_song(name: str) -> bool:
    """Whether a file or folder is known to be none of the user's own.

    Example:
        >>> [is_no_song(name) for name in ("._a.mp3", "@eaDir", ".Trash-1000", ".a.mp3", "_12 x", "...And Justice")]
        [True, True, True, False, False, False]
    """
    return name.lower() in _NO_SONGS or _OTHERS.fullmatch(name.lower()) is not None


def is_audio(path: Path) -> bool:
    """Whether a file has a suffix of audio; a folder may have one too."""
    return path.suffix.lower() in AUDIO_SUFFIXES and not os.path.isdir(path)


def tell_left_out(root: Path, names: Sequence[str]) -> None:
    """Log how many files or folders are left out as no songs."""
    if names:
        shown = ", ".join(sorted(set(names))[:_SHOWN])
        warn_once(log, "%s: left out, known to be no songs: %d (%s)", root, len(names), shown)


@dataclass
class FileSearch:
    """A search for audio below a folder. Each folder is looked at once, also where links lead to it several times.

    Args:
        root: The folder.
        on_error: Gets what keeps a folder from being read.
    """

    root: Path
    on_error: Callable[[OSError], object] = field(default=lambda error: None)
    _left_out: list[str] = field(default_factory=list, init=False)

    def audio(self) -> list[Path]:
        """The files, those of a folder in the order of their names; linked folders come last.

        What is left out is logged, with its number.
        """
        paths = list(self._files())
        tell_left_out(self.root, self._left_out)
        return paths

    def _files(self) -> Iterator[Path]:
        seen: set[str] = set()
        folders = [str(self.root)]
        for folder in folders:  # Grows by the links that are found on the way.
            for parent, inner, files in os.walk(folder, onerror=self.on_error):
                if os.path.realpath(parent) in seen:
                    inner.clear()
                    continue
                seen.add(os.path.realpath(parent))
                inner[:] = sorted(filter(self._wanted, inner))
                folders += [path for path in (os.path.join(parent, name) for name in inner) if os.path.islink(path)]
                paths = filter(is_audio, (Path(parent, name) for name in sorted(files)))
                yield from (path for path in paths if self._wanted(path.name))

    def _wanted(self, name: str) -> bool:
        if is_no_song(name):
            self._left_out.append(name)
        return not is_no_song(name)
