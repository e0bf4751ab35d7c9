"""MUSDB18 and MUSDB18-HQ, split as the `musdb` package splits them."""

import os
from collections.abc import Iterator
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import yaml

from mdx_progressive.audio import AudioStream, Signal
from mdx_progressive.data.datasets.base import SongDataset
from mdx_progressive.data.song import Song
from mdx_progressive.runtime import MdxError, package_file

_STEMS = ".stem.mp4"


class Musdb18(SongDataset):
    """MUSDB18 (stems files, .stem.mp4), MUSDB18-HQ (wav), or the version of MUSDB18 with 7 s of each song.

    The `musdb` package knows the splits and the names of files, and has the download, for which it needs the commands
    ffmpeg and ffprobe. Songs are found and read by this package: musdb asks ffprobe about each stem of all songs first,
    and fails if one of them can't be read; it rounds decoded AAC to 16 bits and cuts off what is above full scale.

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
        layout = _layout()
        if self._download:
            self._fetch()
        subsets = ["train", "test"] if self.subset is None else [self.subset]
        find = _wav_folders if self.is_wav else _stems_files
        try:
            found = [song for subset in subsets for song in find(self.root / subset, layout)]
        except OSError as error:
            raise MdxError(f"{error.filename}: can't be read ({error.strerror})") from error
        if not found:
            inside = f"<song>/{layout['mixture']}" if self.is_wav else f"<song>{_STEMS}"
            raise MdxError(
                f"{self.root}: no song of MUSDB18 there (expected {subsets[0]}/{inside};"
                f" dataset.is_wav {str(not self.is_wav).lower()} looks for the other kind of files)"
            )
        if self.split is None:
            return found
        valid = set(layout["validation_tracks"])
        chosen = [song for song in found if (song.name in valid) == (self.split == "valid")]
        if not chosen:
            raise MdxError(f"{self.root / 'train'}: none of its songs is of the {self.split} split of musdb")
        return chosen

    def _fetch(self) -> None:
        musdb = _musdb()
        try:
            musdb.DB(root=str(self.root), subsets=[], download=True)  # Of no subset it reads any song.
        except Exception as error:  # From the connection, the disk or the archive.
            raise MdxError(f"{self.root}: musdb could not download its songs there ({error})") from error


def _layout() -> dict[str, Any]:
    """What musdb says of its songs: names of stems and their files and streams, and which songs are for validation."""
    content: dict[str, Any] = yaml.safe_load(package_file("musdb", "configs", "mus.yaml").read_text(encoding="utf-8"))
    return content


def _stems_files(folder: Path, layout: dict[str, Any]) -> Iterator[Song]:
    """MUSDB18: one file a song, which holds mixture and stems as streams."""
    numbers = {name: number for name, number in layout["stem_ids"].items() if name != "mixture"}
    for path in sorted(folder.glob(f"[!.]*{_STEMS}")):
        stems: dict[str, Signal] = {
            name: AudioStream(path, number) for name, number in sorted(numbers.items(), key=itemgetter(1))
        }
        yield Song(path.name.removesuffix(_STEMS), AudioStream(path, layout["stem_ids"]["mixture"]), stems)


def _wav_folders(folder: Path, layout: dict[str, Any]) -> Iterator[Song]:
    """MUSDB18-HQ: a folder a song, with a file for the mixture and for each stem."""
    for place in sorted(path for path in folder.glob("[!.]*") if path.is_dir()):
        try:
            files = {path.name: path for path in place.iterdir()}
        except OSError as error:
            yield Song(place.name, None, error=f"{place}: can't be read ({error.strerror})")
            continue
        names = sorted(layout["sources"], key=layout["stem_ids"].__getitem__)
        known = {name: layout["sources"][name] for name in names}
        stems: dict[str, Signal] = {name: AudioStream(files[file]) for name, file in known.items() if file in files}
        mixture = files.get(layout["mixture"])
        reason = None if stems else f"{place}: holds none of {', '.join(known.values())}"
        yield Song(place.name, AudioStream(mixture) if mixture else None, stems, error=reason)


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
            "to download, musdb needs the commands ffmpeg and ffprobe, which are not on the PATH: install FFmpeg (e.g."
            " apt install ffmpeg, brew install ffmpeg), or leave dataset.download out where the songs are at hand"
        ) from error
