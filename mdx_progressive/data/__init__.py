"""Songs on disk to aligned, trimmed, normalised chunks."""

from mdx_progressive.data.datamodule import SongDataModule
from mdx_progressive.data.normalisation import Loudness, Normalisation, Peak, Rms

__all__ = ["Loudness", "Normalisation", "Peak", "Rms", "SongDataModule"]
