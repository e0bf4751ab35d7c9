"""What a stem tells of how it was made: a line among its own tags, which goes wherever the file goes.

There is no list beside the stems, which a stem that is moved, copied or replaced would contradict.
"""

import os
import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

from mdx_progressive.data import Song

SOFTWARE = "software"
"""The tag that holds it, by libsndfile's name."""

_TEXT = re.compile(rb"mdx-progressive: ([^\0]{1,999}?) \[song ([0-9a-f]{16}), settings ([0-9a-f]{16})\]")
_HEAD = 1 << 16
"""Bytes at the beginning of a file that hold its tags, and at the end, where some encoders put them."""
_SPOT = 1 << 12
_DISTANCE = 1 << 18
"""Of a file, `_SPOT` bytes every `_DISTANCE` bytes are looked at: of a wav of a CD's rate, 23 ms every 1.5 s."""


class Provenance(NamedTuple):
    """How a stem was made.

    Args:
        made_by: Separator and method, for people.
        song: 16 hexadecimal digits that change with the bytes of the song's files.
        settings: 16 hexadecimal digits that change with all that decides on the samples of a stem.

    Example:
        >>> stem = Provenance("htdemucs, balanced", "0123456789abcdef", "fedcba9876543210")
        >>> stem.text
        'mdx-progressive: htdemucs, balanced [song 0123456789abcdef, settings fedcba9876543210]'
        >>> Provenance.parse(stem.text.encode()) == stem
        True
    """

    made_by: str
    song: str
    settings: str

    @property
    def text(self) -> str:
        """The tag."""
        return f"mdx-progressive: {self.made_by} [song {self.song}, settings {self.settings}]"

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """Find the tag among bytes; None where there is none."""
        found = _TEXT.search(content)
        return cls(*(part.decode(errors="replace") for part in found.groups())) if found else None

    def difference(self, other: "Provenance") -> str | None:
        """Why a stem can't stand for another one of its name, in words that follow "it was made"; None if it can."""
        if self.made_by != other.made_by:
            return f"by {self.made_by}, this run is {other.made_by}"
        if self.settings != other.settings:
            return "with other settings"
        return None if self.song == other.song else "from another file of that name, or before the song was changed"


class Maker(NamedTuple):
    """What makes the stems of a run: separator and method for people, and a digest of all settings that decide."""

    made_by: str
    settings: str

    def provenance(self, song: Song) -> Provenance:
        """That of the stems of a song; reads a part of its files."""
        return Provenance(self.made_by, _digest(stream.path for stream in song.streams), self.settings)

    def differences(self, song: Song, paths: Iterable[Path]) -> dict[Path, str | None]:
        """Of the stems of a song that tell what made them, why each can't stand for one of this run, None if it can."""
        told = {path: found for path in paths if (found := read_provenance(path))}
        wanted = self.provenance(song) if told else None
        return {path: found.difference(wanted) for path, found in told.items() if wanted}


def settings_digest(settings: Sequence[object]) -> str:
    """16 hexadecimal digits of settings whose `repr` tells them apart."""
    return sha256(repr(settings).encode()).hexdigest()[:16]


def read_provenance(path: Path) -> Provenance | None:
    """How a stem was made; None if it does not tell, or can't be read.

    Its bytes are looked through: any file may lie there, and none is decoded for this.
    """
    try:
        if not path.is_file():  # To open a pipe would wait for whoever writes to it.
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(max(len(head), os.fstat(file.fileno()).st_size - _HEAD))
            return Provenance.parse(head) or Provenance.parse(file.read())
    except OSError:
        return None


def _digest(paths: Iterable[Path]) -> str:
    """Of the bytes of files, looked at in spots: the date would not outlive a copy, all bytes would take as long.

    An edit of a wav that keeps its length and is shorter than the distance of two spots can be missed.
    """
    digest = sha256()
    for path in dict.fromkeys(paths):
        try:
            if not path.is_file():
                continue
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(f"{size} ".encode())
                for start in range(0, size, _DISTANCE):
                    file.seek(start)
                    digest.update(file.read(_SPOT))
        except OSError:  # It is read soon, and that tells more.
            continue
    return digest.hexdigest()[:16]
