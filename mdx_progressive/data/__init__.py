"""Songs on disk to aligned, trimmed, normalised chunks."""

from mdx_progressive.data.datamodule import SongDataModule
from mdx_progressive.data.musdb18 import Musdb18
from mdx_progressive.data.normalisation import Loudness, Normalisation, Peak, Rms
from mdx_progressive.data.prepared_set import PreparedSet
from mdx_progressive.data.song_folders import SongFolders
from mdx_progressive.data.song_set import BuiltinClip, SongSet

__all__ = [
    "BuiltinClip",
    "Loudness",
    "Musdb18",
    "Normalisation",
    "Peak",
    "PreparedSet",
    "Rms",
    "SongDataModule",
    "SongFolders",
    "SongSet",
]
