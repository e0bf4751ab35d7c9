"""The index of the audio files of a run: which clips there are of each song and source."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mdx_progressive.runtime import MdxError, atomic_write, check_fields, check_type, read_json, real_path

SOUND_FOLDER = "sound"
"""The folder of a run that holds its audio files."""
_INDEX = "index.json"

Kind = Literal["mixture", "one-pass", "step", "oracle", "reference"]


@dataclass(frozen=True)
class AudioClip:
    """One audio file of an excerpt.

    Args:
        kind: What it is; "step" for a step of a method that is no bound.
        file: Its file, relative to the folder of audio files, with slashes.
        step: Number of the step, if it is an estimate.
        best: Whether no step of the run's method has a higher SI-SDR on this chunk; of other methods that is not looked
            for.
        method: Name of the method whose step it is; None in the files of runs that had the steps of one method only.
    """

    kind: Kind
    file: str
    step: int | None = None
    best: bool = False
    method: str | None = None


@dataclass(frozen=True)
class Excerpt:
    """The clips of one song, all at one gain.

    Args:
        song: Name of the song.
        chunk: Number of the chunk within the song.
        seconds: Length of the clips, from the start of the chunk.
        chunk_seconds: Length of the chunk, which is what was measured.
        gain_db: The gain of all files; 0 or less.
        method: Name of the run's method, whose best step is among the clips.
        clips: The clips of each source, the mixture first.
    """

    song: str
    chunk: int
    seconds: float
    chunk_seconds: float
    gain_db: float
    method: str
    clips: dict[str, list[AudioClip]]

    @property
    def files(self) -> Iterator[str]:
        """The files of all clips; that of the mixture is repeated for each source."""
        return (clip.file for clips in self.clips.values() for clip in clips)

    @property
    def folder(self) -> str:
        """Name of the folder of its files."""
        return next(self.files).partition("/")[0]


def write_index(folder: Path, excerpts: Iterable[Excerpt]) -> None:
    """Write the index."""
    entries = [asdict(excerpt) for excerpt in excerpts]
    for entry in entries:
        entry["takes"] = entry.pop("clips")  # the key of the files of earlier runs, which are read too
    with atomic_write(folder / _INDEX) as temporary:
        temporary.write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def remove_index(folder: Path) -> None:
    """Remove the index of an older run, if there is one."""
    (folder / _INDEX).unlink(missing_ok=True)


def read_index(folder: Path) -> list[Excerpt]:
    """Read the index; empty if there is none.

    Raises:
        MdxError: If the index is damaged, or names a file that is missing or lies outside the folder.
    """
    path = folder / _INDEX
    if not path.is_file():
        return []
    try:
        excerpts = [_excerpt(**entry) for entry in check_type(read_json(path), list)]
    except (AttributeError, TypeError, ValueError) as error:
        raise MdxError(f"{path} is no list of sound files: delete it, or run `mdx-progressive test` again") from error
    for excerpt in excerpts:
        for file in excerpt.files:
            resolved = real_path(folder / file)
            if not resolved.is_relative_to(real_path(folder)) or not resolved.is_file():
                raise MdxError(f"{path} names {file}, which is not there; run `mdx-progressive test` again")
    return excerpts


def _excerpt(takes: dict[str, list[dict[str, Any]]], **fields: Any) -> Excerpt:
    """An excerpt from its entry in the index, where the clips are called takes."""
    excerpt = Excerpt(clips={key: [AudioClip(**clip) for clip in clips] for key, clips in takes.items()}, **fields)
    check_fields(excerpt)
    for clips in excerpt.clips.values():
        for clip in clips:
            check_fields(clip)
    if not any(excerpt.files):
        raise ValueError("an excerpt without clips")
    return excerpt
