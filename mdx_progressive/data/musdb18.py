"""MUSDB18 and MUSDB18-HQ, as the `musdb` package finds and splits them."""

import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from mdx_progressive.data.audio import AudioStream, Signal
from mdx_progressive.data.song_set import SongSet
from mdx_progressive.data.songs import Song
from mdx_progressive.errors import MdxError


class Musdb18(SongSet):
    """MUSDB18 (stems files, .stem.mp4), MUSDB18-HQ (wav), or the version of MUSDB18 with 7 s of each song.

    The `musdb` package finds the songs and knows the splits; it needs the commands ffmpeg and ffprobe. The audio is
    read by this package's own reader: unlike musdb's it neither rounds decoded AAC to 16 bits nor cuts off what is
    above full scale.

    Args:
        root: The folder with train/ and test/. By default what the environment variable MUSDB_PATH names, or
            ~/MUSDB18/MUSDB18-7 with `download`.
        subset: "train" (100 songs) or "test" (50); null for both.
        split: Of the train subset "train" (86 songs) or "valid" (14); null for both.
        is_wav: Whether the songs are folders of wav files (MUSDB18-HQ), not stems files.
        download: Download the version with 7 s of each song first, unless it is there.

    Raises:
        MdxError: If `split` is given without the train subset, or nothing says where the songs are.
    """

    def __init__(
        self,
        root: Path | None = None,
        subset: Literal["train", "test"] | None = "test",
        split: Literal["train", "valid"] | None = None,
        is_wav: bool = False,
        download: bool = False,
    ) -> None:
        if split is not None and subset != "train":
            raise MdxError(f"dataset.split {split} is a part of the train subset: set dataset.subset to train")
        self.root = _root(root, download)
        self.subset: Literal["train", "test"] | None = subset
        self.split: Literal["train", "valid"] | None = split
        self.is_wav = is_wav
        self._download = download

    def songs(self) -> list[Song]:
        subsets = ["train", "test"] if self.subset is None else [self.subset]
        musdb = _musdb()
        try:
            found = musdb.DB(
                root=str(self.root),
                subsets=subsets,
                split=self.split,
                is_wav=self.is_wav,
                download=self._download,
            )
        except OSError as error:
            raise MdxError(f"{self.root}: musdb could not get at the songs ({error})") from error
        except Exception as error:
            # musdb passes on what ffprobe and others have to say in exceptions of many kinds.
            raise MdxError(f"{self.root}: musdb could not read the songs ({_reason(error)})") from error
        if not found.tracks:
            inside = "<song>/mixture.wav" if self.is_wav else "<song>.stem.mp4"
            raise MdxError(
                f"{self.root}: no song of MUSDB18 there (expected {subsets[0]}/{inside};"
                f" dataset.is_wav {str(not self.is_wav).lower()} looks for the other kind of files)"
            )
        return [_song(track, self.is_wav) for track in found.tracks]


def _root(given: Path | None, download: bool) -> Path:
    """The folder that is meant, by the rules of musdb."""
    if given is not None:
        return given.expanduser()
    if download:
        return Path("~/MUSDB18/MUSDB18-7").expanduser()
    if "MUSDB_PATH" in os.environ:
        return Path(os.environ["MUSDB_PATH"]).expanduser()
    raise MdxError("MUSDB18: set dataset.root to the folder with train/ and test/, or dataset.download to true")


def _musdb() -> ModuleType:
    try:
        return import_module("musdb")  # It raises where there is no ffmpeg.
    except RuntimeError as error:
        raise MdxError(
            "musdb needs the commands ffmpeg and ffprobe, and they are not on the PATH: install FFmpeg (e.g."
            " apt install ffmpeg, brew install ffmpeg); MUSDB18-HQ can be read without: --data.root FOLDER/test"
        ) from error


def _song(track: Any, is_wav: bool) -> Song:
    """A song of a track of musdb."""
    sources = sorted(track.sources.values(), key=lambda source: source.stem_id)
    stems: dict[str, Signal] = {
        source.name: AudioStream(Path(source.path), 0 if is_wav else source.stem_id) for source in sources
    }
    mixture = AudioStream(Path(track.path)) if Path(track.path).is_file() else None
    fault = None if stems else f"{Path(track.path).parent}: holds none of vocals.wav, drums.wav, bass.wav, other.wav"
    return Song(track.name, mixture, stems, fault=fault)


def _reason(error: Exception) -> str:
    """The last line of what ffprobe said, if it was ffprobe, else what the exception says."""
    said = getattr(error, "stderr", None)
    lines = said.decode(errors="replace").strip().splitlines() if isinstance(said, bytes) else []
    return lines[-1] if lines else f"{type(error).__name__}: {error}"
