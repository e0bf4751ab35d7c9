"""MUSDB18 and MUSDB18-HQ, split as the `musdb` package splits them."""

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import yaml

from mdx_progressive.audio import AudioStream, Signal
from mdx_progressive.data.datasets.base import SongDataset
from mdx_progressive.data.file_search import is_no_song
from mdx_progressive.data.song import Song
from mdx_progressive.runtime import MdxError, package_file

_STEMS = ".stem.mp4"


class Musdb18(SongDataset):
    """MUSDB18 (stems files, .stem.mp4), MUSDB18-HQ (wav), or the version of MUSDB18 with 7 s of each song.

    The `musdb` package knows the splits and the names of files, and has the download, for which it needs the commands
    ffmpeg and ffprobe. Songs are found and read by this package: musdb asks ffprobe about each stem of all songs first,
    and fails if one of them can't be read; it rounds decoded AAC to 16 bits and clips it to full scale.

    Args:
        root: The folder with train/ and test/. By default what the environment variable MUSDB_PATH names, or
            ~/MUSDB18/MUSDB18-7 with `download`.
        subset: "train" (100 songs) or "test" (50); null for both.
        split: Of the train subset "train" (86 songs) or "valid" (14); null for both.
        is_wav: Whether the songs are folders of wav files (MUSDB18-HQ), not stems files.
        download: Download the version with 7 s of each song first, unless it is there.

    Raises:
        MdxError: If `split` is given without the train subset, or there is no root.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        subset: Literal["train", "test"] | None = "test",
        split: Literal["train", "valid"] | None = None,
        is_wav: bool = False,
        download: bool = False,
    ) -> None:
        if split is not None and subset != "train":
            raise MdxError(f"dataset.split {split} is a part of the train subset: set dataset.subset to train")
        self.root = Path(root).expanduser() if root is not None else _default_root(download)
        self.subset: Literal["train", "test"] | None = subset
        self.split: Literal["train", "valid"] | None = split
        self.is_wav = is_wav
        self._download = download

    def songs(self) -> list[Song]:
        layout = _layout()
        if self._download:
            self._fetch()
        subsets = ["train", "test"] if self.subset is None else [self.subset]
        find = _wav_folders if self.is_wav else _stems_files
        try:
            songs = [song for subset in subsets for song in find(self.root / subset, layout)]
        except OSError as error:
            raise MdxError(f"{error.filename}: can't be read ({error.strerror})") from error
        if not songs:
            inside = f"<song>/{layout['mixture']}" if self.is_wav else f"<song>{_STEMS}"
            raise MdxError(
                f"{self.root}: no song of MUSDB18 there (expected {subsets[0]}/{inside};"
                f" dataset.is_wav {str(not self.is_wav).lower()} looks for the other kind of files)"
            )
        if self.split is not None:
            valid = set(layout["validation_tracks"])
            songs = [song for song in songs if (song.name in valid) == (self.split == "valid")]
        if not songs:
            raise MdxError(f"{self.root / 'train'}: none of its songs is of the {self.split} split of musdb")
        return songs

    def _fetch(self) -> None:
        try:
            musdb = import_module("musdb")  # It raises where there is no ffmpeg.
        except RuntimeError as error:
            raise MdxError(
                "to download, musdb needs the commands ffmpeg and ffprobe, which are not on the PATH: install FFmpeg"
                " (e.g. apt install ffmpeg, brew install ffmpeg), or leave dataset.download out where the songs are at"
                " hand"
            ) from error
        try:
            musdb.DB(root=str(self.root), subsets=[], download=True)  # Without a subset it reads no song.
        except Exception as error:  # From the connection, the disk or the archive.
            raise MdxError(f"{self.root}: musdb could not download its songs there ({error})") from error


def _layout() -> dict[str, Any]:
    """What musdb defines: names of stems, their files and streams, and which songs are for validation."""
    content: dict[str, Any] = yaml.safe_load(package_file("musdb", "configs", "mus.yaml").read_text(encoding="utf-8"))
    return content


def _stem_order(layout: dict[str, Any]) -> list[str]:
    return sorted(layout["sources"], key=layout["stem_ids"].__getitem__)


def _stems_files(folder: Path, layout: dict[str, Any]) -> Iterator[Song]:
    """MUSDB18: one file a song, which holds mixture and stems as streams."""
    numbers = layout["stem_ids"]
    for path in sorted(path for path in folder.glob(f"*{_STEMS}") if not is_no_song(path.name)):
        stems: dict[str, Signal] = {name: AudioStream(path, numbers[name]) for name in _stem_order(layout)}
        yield Song(path.name.removesuffix(_STEMS), AudioStream(path, numbers["mixture"]), stems)


def _wav_folders(root: Path, layout: dict[str, Any]) -> Iterator[Song]:
    """MUSDB18-HQ: a folder a song, with a file for the mixture and for each stem."""
    names = {stem: layout["sources"][stem] for stem in _stem_order(layout)}
    for folder in sorted(path for path in root.glob("*") if path.is_dir() and not is_no_song(path.name)):
        try:
            files = {path.name: path for path in folder.iterdir()}
        except OSError as error:
            yield Song(folder.name, None, error=f"{folder}: can't be read ({error.strerror})")
            continue
        stems: dict[str, Signal] = {stem: AudioStream(files[name]) for stem, name in names.items() if name in files}
        mixture = files.get(layout["mixture"])
        error_text = None if stems else f"{folder}: holds none of {', '.join(names.values())}"
        yield Song(folder.name, AudioStream(mixture) if mixture else None, stems, error=error_text)


def _default_root(download: bool) -> Path:
    """The folder without a `root`, by the rules of musdb."""
    if download:
        return Path("~/MUSDB18/MUSDB18-7").expanduser()
    if "MUSDB_PATH" in os.environ:
        return Path(os.environ["MUSDB_PATH"]).expanduser()
    raise MdxError("MUSDB18: set dataset.root to the folder with train/ and test/, or dataset.download to true")
