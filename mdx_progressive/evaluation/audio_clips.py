"""What there is to hear of a run: the list of its sound files."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mdx_progressive.runtime import MdxError, atomic_write

FOLDER = "sound"
"""The folder of a run that holds its sound."""
_INDEX = "index.json"

Kind = Literal["mixture", "one-pass", "step", "oracle", "reference"]


@dataclass(frozen=True)
class AudioClip:
    """One of the waveforms that are compared by ear.

    Args:
        kind: What it is; "step" for one of the method's.
        file: Its file, relative to the folder of the sound, with slashes.
        step: Number of the step, where it is an estimate.
        best: Whether no step of the method has a higher SI-SDR on this chunk.
    """

    kind: Kind
    file: str
    step: int | None = None
    best: bool = False


@dataclass(frozen=True)
class Excerpt:
    """The takes of one song, all at one gain.

    Args:
        song: Name of the song.
        chunk: Number of the chunk within the song.
        seconds: How much of the chunk, from its start.
        chunk_seconds: Length of the chunk, which is what was measured.
        gain_db: The gain of all files; 0 or less.
        method: Name of the method that the steps are of.
        takes: For each source its takes, the mixture first.
    """

    song: str
    chunk: int
    seconds: float
    chunk_seconds: float
    gain_db: float
    method: str
    takes: dict[str, list[AudioClip]]

    @property
    def folder(self) -> str:
        """Name of the folder that its files are in."""
        return next(take.file for takes in self.takes.values() for take in takes).partition("/")[0]


def write_index(folder: Path, excerpts: Iterable[Excerpt]) -> None:
    """Write the list of what can be heard."""
    text = json.dumps([asdict(excerpt) for excerpt in excerpts], indent=2, ensure_ascii=False)
    with atomic_write(folder / _INDEX) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def remove_index(folder: Path) -> None:
    """Take away the list of an older run, if there is one."""
    (folder / _INDEX).unlink(missing_ok=True)


def read_index(folder: Path) -> list[Excerpt]:
    """The list of what can be heard; empty if there is none.

    Raises:
        MdxError: If the list is damaged, or names a file that is not there or lies outside of the folder.
    """
    path = folder / _INDEX
    if not path.is_file():
        return []
    try:
        excerpts = [
            Excerpt(
                **{**entry, "takes": {source: [AudioClip(**take) for take in takes] for source, takes in of.items()}}
            )
            for entry in json.loads(path.read_text(encoding="utf-8"))
            for of in [entry["takes"]]
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MdxError(f"{path} is no list of sound files: delete it, or run `mdx-progressive test` again") from error
    for excerpt in excerpts:
        for take in (take for takes in excerpt.takes.values() for take in takes):
            found = (folder / take.file).resolve()
            if not found.is_relative_to(folder.resolve()) or not found.is_file():
                raise MdxError(f"{path} names {take.file}, which is not there; run `mdx-progressive test` again")
    return excerpts
