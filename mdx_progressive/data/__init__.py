"""Songs on disk to aligned, trimmed, normalised chunks: data sets, prepared sets, the LightningDataModule.

It imports `audio`, `dsp` and `runtime`; only `datamodule` knows Lightning.
"""

from mdx_progressive.data.batch import ChunkBatch, Failure, Origin
from mdx_progressive.data.block_reader import BlockReader
from mdx_progressive.data.channel_pairs import ChannelPairs
from mdx_progressive.data.datamodule import ChunkLength, SongDataModule
from mdx_progressive.data.datasets.base import BuiltinClip, SongDataset
from mdx_progressive.data.datasets.folders import SongFolders, choose_dataset
from mdx_progressive.data.datasets.musdb18 import Musdb18
from mdx_progressive.data.normalisation import Loudness, Normalisation, Peak, Rms
from mdx_progressive.data.prediction import Prediction, join_songs
from mdx_progressive.data.prepared.dataset import PreparedSet
from mdx_progressive.data.prepared.index import PreparedIndex
from mdx_progressive.data.prepared.song_task import CutSettings
from mdx_progressive.data.prepared.writer import PreparedWriter
from mdx_progressive.data.song import Song, audio_files
from mdx_progressive.data.song_reader import MixtureChoice, ReadingOptions
from mdx_progressive.data.song_stream import SongStream

__all__ = [
    "BlockReader", "BuiltinClip", "ChannelPairs", "ChunkBatch", "ChunkLength", "CutSettings", "Failure",
    "Loudness", "MixtureChoice", "Musdb18", "Normalisation", "Origin", "Peak", "Prediction", "PreparedIndex",
    "PreparedSet", "PreparedWriter", "ReadingOptions", "Rms", "Song", "SongDataModule", "SongDataset",
    "SongFolders", "SongStream", "audio_files", "choose_dataset", "join_songs",
]  # fmt: skip
